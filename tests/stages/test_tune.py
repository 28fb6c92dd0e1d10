"""softvote.stages.tune: trials on folds that no score of the tuned pipeline uses, killed and gone on with."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import projects
import pytest
import yaml
from conftest import Digits, make_once
from projects import process, softvote, write_pipeline, write_project

from softvote.config.pipeline import Pipeline
from softvote.ensembling.predictions import read_predictions
from softvote.errors import UserError
from softvote.metrics.scores import accuracy
from softvote.stages import open_run, tune
from softvote.storage.paths import PredictionsFolder
from softvote.tracking.ledger import SETTLED, read_ledger
from softvote.tuning import outcome
from softvote.tuning.records import TuneRecord

pytestmark = pytest.mark.usefixtures("forkserver")  # started with all that is needed here

pytest.importorskip("optuna", reason="softvote[tune] is not installed")

SPACE = {
    "members.cnn.optimizer.lr": {"log": ["1e-5", "1e-2"]},
    "members.cnn.epochs": {"int": [1, 2]},
}


def write_tuned_project(root: Path, digits: Digits, **tune: object) -> Path:
    members = {"cnn": {"model": "cnn", "optimizer": {"name": "adamw", "lr": 1e-5}}, "other": {"model": "cnn"}}
    facts = {"folds": {"count": 3}, "members": members, "tune": {"space": SPACE} | tune}
    root = write_project(root, digits, **facts)
    assert softvote(root, "folds", "tiny") == 0
    return root


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, digits: Digits) -> Path:
    """A search of three trials; as it stands the pipeline hardly learns, so that some trial is better."""

    def make(root: Path) -> None:
        write_tuned_project(root, digits)
        assert softvote(root, "tune", "tiny", "--trials", "3") == 0

    return make_once(tmp_path_factory, "tuned", make)


@pytest.fixture
def copy(project: Path, tmp_path: Path) -> Path:
    return shutil.copytree(project, tmp_path / "copy", ignore=shutil.ignore_patterns(".*lock"))


def record_of(root: Path) -> TuneRecord:
    record = TuneRecord.read(root / "models" / "tiny" / "tune" / "tune.json")
    assert record is not None
    return record


def test_a_trial_is_scored_on_the_last_fold_alone(project: Path) -> None:
    record = record_of(project)
    assert record.folds == [2] and record.members == ["cnn"] and len(record.trials) == 3
    run = open_run(project, "tiny")
    folds = np.loadtxt(run.folder.folds, delimiter=",", skiprows=1, dtype=np.int64)
    for trial in record.trials:
        folder = run.folder.tune.trial(record.study, trial.number).path
        assert sorted(path.name for path in folder.iterdir()) == ["cnn"]
        oof = read_predictions(PredictionsFolder(folder / "cnn" / "fold2"))
        assert oof.rows.tolist() == np.flatnonzero(folds[:, 2] == 2).tolist()
        assert trial.score == accuracy(oof.oof, folds[oof.rows, 1])
        assert not list(folder.rglob("weights.safetensors"))


def test_the_tuned_pipeline_has_the_best_values_and_scores_the_other_folds(project: Path) -> None:
    record, written = record_of(project), project / "pipelines" / "tiny-tuned.yaml"
    best = record.trial(record.best)
    assert best.score and record.trials[0].score and best.score.value > record.trials[0].score.value
    assert best.gain and best.gain.gain > 0 and f"Gain {best.gain}: " in written.read_text()
    pipeline = open_run(project, "tiny-tuned").pipeline
    assert pipeline.folds.trained == [0, 1] and pipeline.tune is None
    member = pipeline.members["cnn"]
    assert member.optimizer.lr == best.values["members.cnn.optimizer.lr"]
    assert member.epochs == best.values["members.cnn.epochs"]
    assert pipeline.members["other"] == open_run(project, "tiny").pipeline.members["other"]


def test_trial_0_is_the_pipeline_as_it_stands(project: Path) -> None:
    assert record_of(project).trials[0].values == {
        "members.cnn.optimizer.lr": 1e-5, "members.cnn.epochs": 2,
    }  # fmt: skip


def test_trials_whose_members_learned_test_images_are_marked() -> None:
    """A search over `test_rows` has trials of both kinds; who is looked at is the pipeline of each trial."""
    members = {"cnn": {"model": "cnn"}, "student": {"model": "cnn", "teacher": {"member": "cnn"}}}
    facts = projects.pipeline(members=members, folds={"count": 3}, tune={"space": SPACE})

    def change(settings: list[str]) -> Pipeline:
        members["student"]["teacher"] = {"member": "cnn", "test_rows": settings == ["on"]}
        return Pipeline.model_validate(facts)

    from optuna.trial import create_trial

    spec: Any = SimpleNamespace(change=change, members=["cnn", "student"])
    trials = [
        outcome._read_trial(
            create_trial(value=0.9, user_attrs={"score": [0.9, 0.1, 9, True], "settings": settings}), spec
        )
        for settings in ([], ["on"])
    ]
    assert [trial.transductive for trial in trials] == [[], ["student"]]
    trials = [trial.model_copy(update={"number": number}) for number, trial in enumerate(trials)]
    record = TuneRecord(
        pipeline="tiny", study="s", metric="accuracy", greater_is_better=True, members=spec.members,
        folds=[2], of_folds=3, table="t", trials=trials, best=1,
    )  # fmt: skip
    said = str(tune.TuneResult(record, None, ()))
    assert "\n0, as it stands" in said and "\n1, transductive" in said
    assert "student: transductive: its training" in said and "tune: trial 1, transductive, " in said


@pytest.mark.slow
def test_scores_of_rows_that_chose_values_are_marked(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for setting, marked in (("folds.train=2", False), ("folds.train=3", True)):
        for stage in ("folds", "train", "ensemble", "submit", "report"):
            assert softvote(copy, stage, "tiny-tuned", "--set", setting, "--set", "engine.workers=1") == 0
            printed = capsys.readouterr().out
            assert (SETTLED in printed) == (marked and stage in ("train", "ensemble", "submit")), printed
        entry = read_ledger(copy / "submissions" / "ledger.csv")[-1]
        assert entry.folds == (f"3/3 + {SETTLED}" if marked else "2/3")
        page = (copy / "reports" / "tiny-tuned.html").read_text(encoding="utf-8")
        assert ("scores flatter" in page) == marked
        assert "0, as it stands" in page and "What mattered" in page


def test_as_many_trials_as_there_are_train_nothing_and_more_go_on(copy: Path) -> None:
    run = open_run(copy, "tiny")
    before = record_of(copy)
    began = {path: path.stat().st_mtime_ns for path in copy.rglob("log.csv")}
    assert tune.run(run, 3).record == before
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("log.csv")} == began
    more = tune.run(run, 4).record
    assert more.trials[:3] == before.trials and len(more.trials) == 4


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_search_that_is_stopped_goes_on(how: signal.Signals, digits: Digits, tmp_path: Path) -> None:
    root = write_tuned_project(tmp_path, digits)
    running = process(root, "tune", "tiny", "--trials", "3")
    deadline = time.monotonic() + 120
    while not list(root.rglob("scores.json")) and time.monotonic() < deadline:  # one training is done
        time.sleep(0.02)
    os.killpg(running.pid, how)
    _, said = running.communicate(timeout=60)
    assert how == signal.SIGKILL or "run the same command to go on" in said
    done = [path.with_name("log.csv") for path in root.rglob("scores.json")]
    first = {path: path.stat().st_mtime_ns for path in done}
    assert first and softvote(root, "tune", "tiny", "--trials", "3") == 0
    record = record_of(root)
    assert [trial.number for trial in record.trials] == [0, 1, 2]
    assert all(path.stat().st_mtime_ns == when for path, when in first.items())


def test_what_cannot_be_searched_is_told(
    project: Path, tmp_path: Path, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_project(tmp_path, digits)
    with pytest.raises(UserError, match="nothing to search"):
        tune.run(open_run(root, "tiny"))
    facts = yaml.safe_load((project / "pipelines" / "tiny.yaml").read_text())
    for key, told in (("model", "did you mean 'resnet5'"), ("init_from", "no member 'resnet6'")):
        choice = {"choice": ["resnet5", "resnet6"] if key == "model" else [None, "resnet6"]}
        write_pipeline(root, facts | {"tune": {"space": {f"members.cnn.{key}": choice}}})
        with pytest.raises(UserError, match=told):
            tune.run(open_run(root, "tiny"))
    assert not (root / "models" / "tiny" / "tune").exists()
    write_pipeline(root, facts | {"engine": "ray"})
    with pytest.raises(UserError, match="trials run on this machine"):
        tune.run(open_run(root, "tiny"))


def test_a_file_of_somebody_is_not_overwritten(copy: Path) -> None:
    (copy / "pipelines" / "tiny-tuned.yaml").write_text("extends: tiny\n")
    with pytest.raises(UserError, match=r"tiny-tuned.yaml: is in the way"):
        tune.run(open_run(copy, "tiny"), 3)


def test_a_trial_that_cannot_be_trained_is_told_and_passed_over(
    digits: Digits, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A rate by which the loss is lost; nothing but the pipeline as it stands remains."""
    space = {"members.other.optimizer.lr": {"log": [1e35, 1e37]}}
    root = write_tuned_project(tmp_path, digits, space=space)
    earlier = root / "pipelines" / "tiny-tuned.yaml"
    earlier.write_text(before := "# Written by `softvote tune tiny`: of a search before\nextends: tiny\n")
    result = tune.run(open_run(root, "tiny", ["members.other.epochs=1"]), 2)
    assert [trial.outcome for trial in result.record.trials] == ["scored", "failed"]
    assert "the loss is" in result.record.trials[1].reason and "1 failed" in str(result)
    assert result.overlay is None and "no trial scored better" in str(result)
    assert f"{earlier} is of an earlier search" in str(result) and earlier.read_text() == before
    assert "trial 1" in capfd.readouterr().err
    assert json.loads((root / "models" / "tiny" / "tune" / "tune.json").read_text())["best"] == 0
