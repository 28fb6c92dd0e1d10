"""softvote.scheduling.throughput: real trainings, side by side, that end after a part of a second."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Digits
from projects import softvote, write_project

from softvote import stages
from softvote.errors import UserError
from softvote.scheduling import throughput as pace_module
from softvote.scheduling.job_batch import JobBatch
from softvote.scheduling.throughput import Throughput, _trial, measure, spawn_seconds
from softvote.stages.plan import make_plan
from softvote.storage.paths import Workspace
from softvote.training.frozen import FrozenBackboneLearner
from softvote.training.learner import Learner
from softvote.training.rows import Split

TRAIN, TEST = 300, 100


def work_of(root: Path, digits: Digits, member: dict[str, Any], **facts: Any) -> JobBatch:
    """A project of one member on two folds."""
    write_project(root, digits, TRAIN, TEST, **{"members": {"cnn": {"model": "cnn"} | member}} | facts)
    assert softvote(root, "folds", "tiny") == 0
    run = stages.open_run(root, "tiny")
    plan = make_plan(run)
    return JobBatch(run.workspace, run.pipeline.competition, plan.jobs, len(plan.jobs), plan.folds, 60)


def meeting() -> tuple[list[None], Callable[[], None]]:
    met: list[None] = []
    return met, lambda: met.append(None)


def test_processes_side_by_side_find_one_pace(tmp_path: Path, digits: Digits) -> None:
    work = work_of(tmp_path, digits, {"precision": "auto"})
    found = measure(work.jobs[0], work, [0, 0], 1, seconds=0.1)
    assert found.fed == np.count_nonzero(work.folds != 0) and found.epoch == found.fed / found.trained
    assert found.start > 0 and found.trained > 0 and found.predicted > 0
    assert len(list(work.workspace.autotune.glob("*.json"))) == 1  # which training will take as well
    assert not work.jobs[0].folder.path.exists()


def test_a_run_waits_for_its_first_process(monkeypatch: pytest.MonkeyPatch) -> None:
    real, made = pace_module.context, list[ForkServerProcess]()

    def process(**facts: Any) -> ForkServerProcess:
        made.append(real.Process(**facts))
        return made[-1]

    monkeypatch.setattr(pace_module, "context", SimpleNamespace(Process=process))
    assert spawn_seconds() > 0
    assert [each.exitcode for each in made] == [0]  # it came to its end, and nobody is left behind
    assert not multiprocessing.active_children()


def test_why_a_member_cannot_be_trained_is_told(tmp_path: Path, digits: Digits) -> None:
    work = work_of(tmp_path, digits, {"optimizer": {"name": "sgd", "lr": 1e30}, "epochs": 9})
    with pytest.raises(UserError, match=r"the loss is .*lower the learning rate"):
        measure(work.jobs[0], work, [0, 0], 1, seconds=60)


def test_a_trial_that_is_lost_has_no_pace(tmp_path: Path, digits: Digits) -> None:
    """It may end before its first epoch does, which is when a training looks by itself."""
    work = work_of(tmp_path, digits, {"optimizer": {"name": "sgd", "lr": 1e30}, "batch_size": 8})
    with pytest.raises(UserError, match=r"the loss is .*lower the learning rate"):
        _trial(work.jobs[0], work, lambda: None, 0)


def test_a_process_that_is_killed_ends_the_others(
    tmp_path: Path, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest would wait for it before they time anything."""
    work, begin, begun = work_of(tmp_path, digits, {}), pace_module._begin, []

    def begin_and_kill_the_first(*arguments: Any) -> Any:
        line, process = begin(*arguments)
        begun.append(process)
        if len(begun) == 1:
            os.kill(process.pid or 0, signal.SIGKILL)
        return line, process

    monkeypatch.setattr(pace_module, "_begin", begin_and_kill_the_first)
    with pytest.raises(UserError, match="was killed"):
        measure(work.jobs[0], work, [0, 0], 1, seconds=60)
    assert len(begun) == 2 and not any(process.is_alive() for process in begun)


class Clock:
    """A clock that goes on by what work is said to take."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(pace_module.time, "perf_counter", lambda: self.now)

    def slow(
        self, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, seconds: Callable[..., float]
    ) -> None:
        """Let a method take so long, or a function; `seconds` is given all but its first argument."""
        function = getattr(owner, name)

        def slow_down(first: Any, *arguments: Any) -> Any:
            self.now += seconds(*arguments)
            return function(first, *arguments)

        monkeypatch.setattr(owner, name, slow_down)


def test_the_first_steps_count_for_the_start_alone(
    tmp_path: Path, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, clock = work_of(tmp_path, digits, {}), Clock(monkeypatch)
    steps: list[None] = []

    def seconds(*arguments: Any) -> float:
        steps.append(None)
        return 5.0 if len(steps) == 1 else 0.25

    clock.slow(monkeypatch, Learner, "step", seconds)
    clock.slow(monkeypatch, JobBatch, "dataset", lambda: 2.0)
    clock.slow(monkeypatch, pace_module, "compute_config_for", lambda *_: 100.0)  # which one training makes
    clock.slow(monkeypatch, pace_module.Predictor, "probabilities", lambda images, addends: len(images) / 64)
    met, meet = meeting()
    found = _trial(work.jobs[0], work, meet, 3.0)
    assert found.trained == pytest.approx(found.fed / 5 / 0.25)  # 150 rows are five batches of 32 at most
    assert found.start == pytest.approx(2.0 + 4.75)
    assert found.predicted == pytest.approx(64)
    assert len(met) == 2 and len(steps) == 3 + 12


@pytest.mark.parametrize(("per_image", "batches"), [(1 / 16, [16, 128]), (1.0, [16])])
def test_long_steps_are_few(
    tmp_path: Path,
    digits: Digits,
    monkeypatch: pytest.MonkeyPatch,
    per_image: float,
    batches: list[int],
) -> None:
    """A network that takes long for each is known by the second and the third, and by one prediction.

    Where that would take minutes, as with many views of each image, a few images have to do. A processor
    predicts in float32 what it trained in float16.
    """
    work, clock = work_of(tmp_path, digits, {"precision": "fp16"}), Clock(monkeypatch)
    steps: list[None] = []

    def seconds(*arguments: Any) -> float:
        steps.append(None)
        return 9.0 if len(steps) == 1 else 6.0

    clock.slow(monkeypatch, Learner, "step", seconds)
    clock.slow(monkeypatch, pace_module, "compute_config_for", lambda *_: 100.0)
    predicted: list[int] = []

    def predict(images: Any, addends: Any) -> float:
        predicted.append(len(images))
        return len(images) * per_image

    clock.slow(monkeypatch, pace_module.Predictor, "probabilities", predict)
    predictors: list[Any] = []
    create = pace_module.Predictor
    monkeypatch.setattr(pace_module, "Predictor", lambda *of: predictors.append(of[2]) or create(*of))
    met, meet = meeting()
    found = _trial(work.jobs[0], work, meet, 3.0)
    assert found.trained == pytest.approx(found.fed / 5 / 6) and found.start == pytest.approx(3)
    assert found.predicted == pytest.approx(1 / per_image) and predicted == batches
    assert len(met) == 2 and len(steps) == 3
    assert [compute_config.precision for compute_config in predictors] == ["fp32"]


def test_features_that_are_frozen_are_reckoned_for_all_rows(
    tmp_path: Path, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = {"frozen": {"model": "resnet5", "init_from": "cnn", "freeze": True}}
    members["cnn"] = {"model": "resnet5"}
    write_project(tmp_path, digits, 1600, 50, members=members, folds={"count": 8})
    assert softvote(tmp_path, "folds", "tiny") == 0
    plan = make_plan(stages.open_run(tmp_path, "tiny"))
    job = next(job for job in plan.jobs if job.member_name == "frozen")
    work = JobBatch(Workspace(tmp_path), plan.run.pipeline.competition, [job], 1, plan.folds, 60)
    clock = Clock(monkeypatch)

    def of_rows(data: Split) -> float:
        return 1 + len(data.rows) / 100

    clock.slow(monkeypatch, FrozenBackboneLearner, "_features", of_rows)
    clock.slow(monkeypatch, Learner, "step", lambda *arguments: 0.5)
    clock.slow(monkeypatch, pace_module.Predictor, "probabilities", lambda images, addends: 1.0)
    found = _trial(job, work, lambda: None, 3.0)
    assert found.start == pytest.approx(1 + found.fed / 100) and found.fed > 1100
    assert found.trained == pytest.approx(32 / 0.5)


def test_teachers_predict_every_row_before_the_first_epoch(
    tmp_path: Path, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Test rows that are learned are predicted too; each teacher with its views."""
    members = {"one": {"model": "cnn"}, "two": {"model": "cnn", "tta": {"shift": 1}}}
    members["student"] = {"model": "cnn", "teacher": {"member": ["one", "two"], "test_rows": True}}
    write_project(tmp_path, digits, TRAIN, TEST, members=members)
    assert softvote(tmp_path, "folds", "tiny") == 0
    plan = make_plan(stages.open_run(tmp_path, "tiny"))
    jobs = {job.member_name: job for job in plan.jobs if job.fold == 0}
    clock, per_image = Clock(monkeypatch), 1 / 64

    def seconds(batch: Any, addends: Any) -> float:
        return len(batch) * per_image

    clock.slow(monkeypatch, pace_module.Predictor, "_outputs", seconds)  # once per view
    clock.slow(monkeypatch, Learner, "step", lambda *_: 0.5)
    found = {}
    for name, job in jobs.items():
        work = JobBatch(Workspace(tmp_path), plan.run.pipeline.competition, [job], 1, plan.folds, 60)
        found[name] = _trial(job, work, lambda: None, 3.0)
    rows = np.count_nonzero(plan.folds != 0) + TEST
    views = 1 / (found["two"].predicted * per_image)
    assert views > 2 and found["one"].teaching == found["two"].teaching == 0
    assert found["student"].teaching == pytest.approx(rows * per_image * (1 + views))


@pytest.mark.slow_but("extras")
@pytest.mark.parametrize(
    "member",
    [
        {"augment": {"rotate": 5}, "mixup": 0.5, "ema": 0.9, "no_aug_epochs": 1},
        {"schedule": {"name": "plateau", "watch": "held_out", "held_out": 0.2}},
        {"head": "regression", "tta": {"shift": 1}},
        {"model": "resnet5", "epochs": 1},
    ],
    ids=["extras", "held_out", "regression", "one_epoch"],
)
def test_every_recipe_has_a_pace(tmp_path: Path, digits: Digits, member: dict[str, Any]) -> None:
    threads, work = torch.get_num_threads(), work_of(tmp_path, digits, member)
    found = _trial(work.jobs[0], work, lambda: None, 0.01)
    rows = np.count_nonzero(work.folds != 0)
    assert found.fed == pytest.approx(rows * (0.8 if "schedule" in member else 1))
    assert found.trained > 0 and found.predicted > 0 and isinstance(found, Throughput)
    assert torch.get_num_threads() == threads
