"""softvote.scheduling.estimate: from the pace of members to the time of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
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
from softvote.inference.network import Network, build_networks
from softvote.scheduling import estimate as forecast_module
from softvote.scheduling.estimate import Forecast, forecast, format_duration, makespan
from softvote.scheduling.job import Job
from softvote.scheduling.job_batch import JobBatch
from softvote.scheduling.status import read_status
from softvote.scheduling.throughput import Throughput
from softvote.stages.plan import make_plan

TRAIN, TEST = 300, 100


@pytest.mark.parametrize(
    ("seconds", "sources", "at_once", "expected"),
    [
        ([], [], 2, 0),
        ([3], [()], 4, 3),
        ([3, 4, 5], [()] * 3, 1, 12),
        ([3, 4, 5], [()] * 3, 2, 8),  # the third begins when the first ends
        ([3, 4, 5], [()] * 3, 3, 5),
        ([3, 4], [(), [0]], 2, 7),
        ([3, 4, 2], [(), [0], ()], 2, 7),  # what need not wait goes first
        ([4, 3], [[1], ()], 2, 7),
        ([3, 3, 3], [(), [0], [1]], 8, 9),
        ([3, 4, 2], [(), (), [0, 1]], 2, 6),  # what needs two waits for both
        ([1] * 25, [()] * 25, 2, 13),
    ],
)
def test_jobs_side_by_side(
    seconds: list[float], sources: list[list[int]], at_once: int, expected: float
) -> None:
    assert makespan(seconds, sources, at_once) == expected


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.123, "0.12 s"), (0.5, "0.5 s"), (2.04, "2 s"), (9.9, "9.9 s"), (9.96, "10 s"), (23.4, "23 s"),
        (59.4, "59 s"), (59.6, "1 min"), (60, "1 min"), (370, "6 min 10 s"), (594, "9 min 50 s"),
        (596, "10 min"), (1500, "25 min"), (3569, "59 min"), (3575, "1 h"), (6600, "1 h 50 min"),
        (4020, "1 h 7 min"), (11_160, "3 h 10 min"), (80_000, "22 h 10 min"), (172_000, "47 h 50 min"),
        (183_600, "2 days 3 h"), (172_800, "2 days"),
    ],
)  # fmt: skip
def test_time_in_words(seconds: float, words: str) -> None:
    assert format_duration(seconds) == words


# ---------------------------------------------------------------- of a pipeline

PACES = {"cnn": Throughput(1.0, 150, 75, 1000), "resnet5": Throughput(2.0, 150, 150, 100)}
LAUNCH = 3.0  # seconds until the first process works


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[int], int]]:
    """What was measured: member, GPUs and threads; nothing is, the paces are given."""
    noted: list[tuple[str, list[int], int]] = []

    def give(job: Job, work: JobBatch, gpus: list[int], threads: int) -> Throughput:
        noted.append((job.member_name, gpus, threads))
        if job.member_name not in PACES:
            raise UserError("no")
        return PACES[job.member_name]

    monkeypatch.setattr(forecast_module, "measure", give)
    monkeypatch.setattr(forecast_module, "spawn_seconds", lambda: LAUNCH)
    return noted


def due(root: Path, *settings: str) -> tuple[JobBatch, dict[str, Network]]:
    run = stages.open_run(root, "tiny", settings)
    plan = make_plan(run)
    jobs = [job for job in plan.jobs if read_status(job).due != "done"]
    work = JobBatch(run.workspace, run.pipeline.competition, jobs, len(plan.jobs), plan.folds, 60)
    return work, build_networks(run.pipeline, list(run.pipeline.members), with_weights=False)


def read_forecast(root: Path, *settings: str) -> Forecast:
    return forecast(*due(root, *settings), 2)


def project(root: Path, digits: Digits, **facts: Any) -> Path:
    write_project(root, digits, TRAIN, TEST, **facts)
    assert softvote(root, "folds", "tiny") == 0
    return root


def test_the_time_of_a_run(tmp_path: Path, digits: Digits, measured: list[Any]) -> None:
    """Two epochs of 2 s and 1 s after the start, then prediction of half the rows and of the test rows."""
    told = read_forecast(project(tmp_path, digits))
    cnn, resnet5 = 1 + 2 * 2 + 250 / 1000, 2 + 2 * 1 + 250 / 100
    assert [seconds for _, seconds in told.jobs] == pytest.approx([cnn, resnet5] * 2, abs=0.05)
    assert told.seconds == pytest.approx(LAUNCH + makespan([cnn, resnet5] * 2, [()] * 4, 2), abs=0.1)
    assert told.longest("cnn") == pytest.approx(cnn, abs=0.05)
    assert told.at_once == 2 and not told.failed
    assert [(name, gpus) for name, gpus, _ in measured] == [("cnn", [0, 0]), ("resnet5", [0, 0])]


def test_what_is_done_costs_nothing(tmp_path: Path, digits: Digits, measured: list[Any]) -> None:
    root = project(tmp_path, digits)
    assert softvote(root, "train", "tiny", "--member", "cnn") == 0
    assert softvote(root, "train", "tiny", "--fold", "0") == 0
    told = read_forecast(root)
    assert list(told.throughputs) == ["resnet5"] and [job.label for job, _ in told.jobs] == ["resnet5 fold 1"]
    assert told.seconds == pytest.approx(LAUNCH + 2 + 2 * 1 + 250 / 100, abs=0.05)
    assert [(name, gpus) for name, gpus, _ in measured] == [("resnet5", [0])]  # no more than there are jobs


def test_what_is_only_predicted_is_not_trained(tmp_path: Path, digits: Digits, measured: list[Any]) -> None:
    root = project(tmp_path, digits)
    assert softvote(root, "train", "tiny") == 0
    told = read_forecast(root, "members.cnn.tta.shift=1")
    assert told.seconds == pytest.approx(LAUNCH + 1 + 250 / 1000, abs=0.05)


def test_a_head_that_measures_predicts_its_fold_again(
    tmp_path: Path, digits: Digits, measured: list[Any]
) -> None:
    """Once for what it measures of the other half, and where it is trained once more for all."""
    root = project(tmp_path, digits, members={"cnn": {"model": "cnn", "head": "regression"}})
    assert read_forecast(root).jobs[0][1] == pytest.approx(1 + 2 * 2 + (3 * 150 + 100) / 1000, abs=0.05)
    assert softvote(root, "train", "tiny") == 0
    told = read_forecast(root, "members.cnn.tta.shift=1")
    assert told.jobs[0][1] == pytest.approx(1 + (2 * 150 + 100) / 1000, abs=0.05)


def test_lessons_of_teachers_count_where_a_member_is_trained(
    tmp_path: Path, digits: Digits, measured: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PACES, "student", replace(PACES["cnn"], teaching=40.0))
    taught = {"model": "cnn", "teacher": {"member": "cnn"}}
    root = project(
        tmp_path, digits, members={"cnn": {"model": "cnn"}, "student": taught}, folds={"count": 2, "train": 1}
    )
    assert read_forecast(root).longest("student") == pytest.approx(40 + 5.25, abs=0.05)
    read_forecast(root, "members.cnn.tta.shift=1")  # by which teachers take longer
    assert [name for name, _, _ in measured] == ["cnn", "student"] * 2
    monkeypatch.setattr(forecast_module, "read_status", lambda *_: SimpleNamespace(due="predict"))
    assert read_forecast(root).longest("student") == pytest.approx(1.25, abs=0.05)


def test_one_that_builds_on_another_waits(tmp_path: Path, digits: Digits, measured: list[Any]) -> None:
    members = {"cnn": {"model": "cnn"}, "resnet5": {"model": "cnn", "init_from": "cnn", "ema": 0.9}}
    told = read_forecast(project(tmp_path, digits, members=members, folds={"count": 2, "train": 1}))
    assert told.seconds == pytest.approx(LAUNCH + 5.25 + 6.5, abs=0.05)


def test_what_cannot_be_tried_leaves_the_whole_unknown(
    tmp_path: Path, digits: Digits, measured: list[Any]
) -> None:
    told = read_forecast(
        project(tmp_path, digits, members={"cnn": {"model": "cnn"}, "odd": {"model": "cnn", "ema": 0.9}})
    )
    assert str(told.failed["odd"]) == "no" and told.seconds is None and list(told.throughputs) == ["cnn"]


def test_a_pace_is_measured_again_only_where_it_may_be_another(
    tmp_path: Path, digits: Digits, measured: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = project(tmp_path, digits)
    first = read_forecast(root)
    assert read_forecast(root) == first and len(measured) == 2
    read_forecast(root, "defaults.epochs=5", "defaults.no_aug_epochs=1")
    assert len(measured) == 2
    read_forecast(root, "members.cnn.batch_size=64")
    assert [name for name, _, _ in measured[2:]] == ["cnn"]
    read_forecast(root, "defaults.augment={rotate: 5}")
    assert len(measured) == 5
    monkeypatch.setattr(forecast_module, "FORECAST_VERSION", 0)
    read_forecast(root)
    assert len(measured) == 7


Change = Callable[[JobBatch, pytest.MonkeyPatch], JobBatch]
"""Lets one thing be another that a pace depends on."""


def here(what: str, answer: object) -> Change:
    """What the forecast is told of this machine, or of a network."""

    def change(work: JobBatch, monkeypatch: pytest.MonkeyPatch) -> JobBatch:
        monkeypatch.setattr(forecast_module, what, lambda *_: answer)
        return work

    return change


def of_the_data(name: str) -> Change:
    """A part of what identifies a job."""
    return lambda work, _: replace(
        work, jobs=[replace(job, inputs=job.inputs | {name: "other"}) for job in work.jobs]
    )


def more_to_train_on(work: JobBatch, _: pytest.MonkeyPatch) -> JobBatch:
    return replace(work, folds=np.where(np.arange(TRAIN) % 4, 1 - work.folds, 2))


CHANGES: dict[str, Change] = {
    "machine": here("machine_environment", {"device": "other"}),
    "threads": here("assign_devices", ([0, 0], 3)),
    "gpus": here("assign_devices", ([0, 1], 1)),
    "layers": here("layers", [[1, 2]]),
    "share": more_to_train_on,
} | {
    name: of_the_data(name) for name in ("data", "image", "classes", "hidden_digits", "addend", "extra_train")
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_pace_is_of_one_machine_and_one_training_alone(
    tmp_path: Path, digits: Digits, measured: list[Any], monkeypatch: pytest.MonkeyPatch, change: Change
) -> None:
    monkeypatch.setattr(forecast_module, "assign_devices", lambda *_: ([0, 0], 1))
    work, networks = due(project(tmp_path, digits))
    for _ in range(2):
        forecast(work, networks, 2)
    assert len(measured) == 2
    forecast(change(work, monkeypatch), networks, 2)
    assert len(measured) == 4


@pytest.mark.parametrize(("workers", "own"), [(1, True), (2, False), (None, False)])
def test_a_single_worker_is_this_process_with_the_threads_it_has(
    tmp_path: Path,
    digits: Digits,
    measured: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    workers: int | None,
    own: bool,
) -> None:
    monkeypatch.setattr(forecast_module, "assign_devices", lambda *_: ([0], 99))
    forecast(*due(project(tmp_path, digits)), workers)
    assert {threads for _, _, threads in measured} == {torch.get_num_threads() if own else 99}
