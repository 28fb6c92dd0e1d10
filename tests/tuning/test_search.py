"""softvote.tuning: proposals, trials that are stopped, and what is said of them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from conftest import Digits
from projects import softvote, write_project

from softvote.config.tuning import TuneConfig
from softvote.data.split import ImageSplit
from softvote.ensembling.predictions import Predictions, write_predictions
from softvote.ensembling.scorer import Scorer
from softvote.metrics import METRICS
from softvote.stages import open_run
from softvote.stages.tune import _specify
from softvote.task import LabelSpace, Task
from softvote.training.state import TrainingState
from softvote.tuning import observer
from softvote.tuning.observer import STOPPED_AT, ObserveTrial, ReportEpochs, StoppedError
from softvote.tuning.study import StudyAddress, suggest_values, to_parameters

pytest.importorskip("optuna", reason="softvote[tune] is not installed")

TUNE = TuneConfig.model_validate(
    {
        "space": {
            "members.cnn.optimizer.lr": {"log": [1e-4, 1e-2]},
            "members.cnn.epochs": {"int": [5, 20]},
            "members.cnn.augment": {"choice": [None, {"rotate": 10}]},
        }
    }
)
PRESENT = {"members.cnn.optimizer.lr": 0.002, "members.cnn.epochs": 12, "members.cnn.augment": {"rotate": 10}}


def address(folder: Path, greater_is_better: bool = True, pruner: str = "median") -> StudyAddress:
    return StudyAddress(folder / "study.db", "one", greater_is_better, pruner)


def test_proposals_are_in_their_ranges_and_readable(tmp_path: Path) -> None:
    study = address(tmp_path).open("tpe", seed=1)
    for _ in range(20):
        values = suggest_values(study.ask(), TUNE)
        assert all(search.holds(values[key]) for key, search in TUNE.space.items())
        assert len(f"{values['members.cnn.optimizer.lr']:.12g}".lstrip("0.").replace(".", "")) <= 8


def test_the_pipeline_as_it_stands_is_told_to_the_sampler_where_it_is_in_the_space(tmp_path: Path) -> None:
    study, parameters = address(tmp_path).open(), to_parameters(PRESENT, TUNE)
    assert parameters is not None
    study.enqueue_trial(parameters)
    assert suggest_values(study.ask(), TUNE) == PRESENT
    assert to_parameters(PRESENT | {"members.cnn.epochs": 21}, TUNE) is None
    assert to_parameters({}, TUNE) is None


def watch(
    folder: Path, number: int, worths: list[float], monkeypatch: pytest.MonkeyPatch, **spec: Any
) -> None:
    """Report a training's epochs, whose rows are worth so much."""
    labels = np.arange(10) % 2
    space = LabelSpace(Task(2), ("0", "1"))
    scorer = Scorer.create(METRICS[spec.pop("metric", "accuracy")](name="accuracy"), space)
    observe = ObserveTrial(address(folder), number, scorer, spec.get("part", 0), spec.get("parts", 1))
    left_out = ImageSplit(np.zeros((10, 1, 2, 2), np.uint8), labels)
    callback = observe(cast(Any, None), left_out)
    assert isinstance(callback, ReportEpochs)
    state: Any = SimpleNamespace(log=[], epochs=len(worths), label=f"trial {number} cnn fold 2")

    def predict(state: TrainingState, rows: ImageSplit) -> Any:
        right = np.arange(10) < round(10 * worths[len(state.log) - 1])
        return np.eye(2, dtype=np.float32)[np.where(right, labels, 1 - labels)]

    monkeypatch.setattr(observer, "predict_left_out", predict)
    callback.on_start(state)
    for _ in worths:
        state.log.append({})
        callback.on_epoch(state)


def test_a_trial_below_the_others_is_stopped_and_the_last_epoch_stops_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = address(tmp_path).open()
    for _ in range(4):
        trial = study.ask()
        watch(tmp_path, trial.number, [0.5, 0.8, 0.9], monkeypatch)
        study.tell(trial.number, 0.9)
    late = study.ask()
    watch(tmp_path, late.number, [0.5, 0.8, 0.1], monkeypatch)  # bad at the end only: it is scored
    study.tell(late.number, 0.1)
    bad = study.ask()
    with pytest.raises(StoppedError, match=rf"trial {bad.number} cnn fold 2: stopped at 33 %"):
        watch(tmp_path, bad.number, [0.2, 0.8, 0.9], monkeypatch)
    assert study.trials[bad.number].user_attrs[STOPPED_AT] == 33
    assert study.trials[0].intermediate_values == pytest.approx({33: 0.5, 67: 0.8, 100: 0.9})


def test_folds_and_members_are_parts_of_one_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = address(tmp_path).open()
    trial = study.ask()
    watch(tmp_path, trial.number, [0.5, 0.7], monkeypatch, part=0, parts=2)
    watch(tmp_path, trial.number, [0.6, 0.9], monkeypatch, part=1, parts=2)
    watch(tmp_path, trial.number, [0.1, 0.1], monkeypatch, part=1, parts=2)  # gone on with: told already
    assert study.trials[0].intermediate_values == pytest.approx({25: 0.5, 50: 0.7, 75: 0.6, 100: 0.9})


def test_a_trial_trains_each_member_once_a_fold_and_is_scored_on_all_its_rows(
    tmp_path: Path, digits: Digits
) -> None:
    member = {"model": "cnn", "repeats": 2, "refit": True, "epochs": 3}
    search = {"folds": 2, "space": {"members.cnn.epochs": {"int": [1, 3]}}}
    write_project(tmp_path, digits, 90, 10, folds={"count": 3}, members={"cnn": member}, tune=search)
    assert softvote(tmp_path, "folds", "tiny") == 0
    run = open_run(tmp_path, "tiny")
    assert run.pipeline.tune is not None
    spec = _specify(run, run.pipeline.tune)
    trial = spec.folder.trial("one", 0)
    jobs = spec.plan(spec.pipeline, trial)
    assert [(job.fold, job.repeat) for job in jobs] == [(1, 0), (2, 0)]
    labels = spec.dataset.train_labels
    for job in jobs:
        rows = np.flatnonzero(spec.table.folds == job.fold)
        told = np.eye(10, dtype=np.float32)[labels[rows]]
        write_predictions(job.folder, Predictions(rows, told, told[:0]), labels, Task(10), "")
    found = spec.evaluate(trial).score
    assert (found.value, found.rows) == (1.0, np.count_nonzero(spec.table.folds > 0))


def test_without_a_pruner_none_is_stopped(tmp_path: Path) -> None:
    import optuna

    study = address(tmp_path, pruner="none").open()
    assert isinstance(study.pruner, optuna.pruners.NopPruner)
