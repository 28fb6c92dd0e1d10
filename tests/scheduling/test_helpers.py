"""scheduling.helpers: two processes train one network, really, and give what one alone gives."""

from __future__ import annotations

import csv
import functools
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import projects
import pytest
import torch
from conftest import Digits
from safetensors.torch import load_file
from torch import Tensor

from softvote import stages
from softvote.data.dataset import read_dataset
from softvote.errors import UserError
from softvote.inference.record import TrainingRecord
from softvote.scheduling import helpers
from softvote.scheduling.helpers import start_helpers
from softvote.scheduling.job import Job
from softvote.scheduling.worker import EngineServices, run_job
from softvote.stages.plan import Plan, make_plan

pytestmark = pytest.mark.slow  # each starts a process that imports torch

ROWS = 120
PLAIN = [
    "members.cnn.model=test_vit", "members.cnn.model_args={img_size: 8, patch_size: 2}", "defaults.epochs=2",
    "defaults.batch_size=15", "defaults.precision=fp32",
]  # fmt: skip
"""Neither batch norm nor dropout; batches that two cannot halve."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, digits: Digits) -> Path:
    """A project with folds."""
    root = projects.write_project(tmp_path_factory.mktemp("helpers"), digits, ROWS, 20)
    assert projects.softvote(root, "folds", "tiny") == 0
    return root


CNN = ["members.cnn.model=cnn", "members.cnn.model_args={}"]
"""Both of them."""


Prepare = Callable[..., tuple[Plan, Job]]


@pytest.fixture
def prepare(root: Path, tmp_path: Path) -> Prepare:
    """The first job of the project with further settings, in a folder of its own."""

    def prepared(name: str, *settings: str) -> tuple[Plan, Job]:
        plan = make_plan(stages.open_run(root, "tiny", [*PLAIN, *settings]))
        job = plan.jobs[0]
        folder = replace(job.folder, path=tmp_path / name)
        folder.path.mkdir()
        return plan, replace(job, folder=folder)

    return prepared


def train_by(size: int, plan: Plan, job: Job, **how: Any) -> dict[str, Tensor]:
    begin = functools.partial(read_dataset, plan.run.pipeline.competition, plan.run.workspace)
    team = functools.partial(start_helpers, size, begin, job, plan.folds)
    run_job(job, plan.dataset, plan.folds, EngineServices(team=team, **how))
    return load_file(job.folder.weights)


def log(job: Job) -> list[list[float]]:
    """Learning rate, loss, accuracy and watched loss of each epoch."""
    rows = csv.DictReader(job.folder.log.open())
    names = ("learning_rate", "loss", "accuracy", "watched_loss")
    return [[float(row[name]) for name in names] for row in rows]


@pytest.mark.parametrize(
    "settings",
    [
        (),
        ("defaults.mixup=0.5", "defaults.ema=0.9", "defaults.augment={rotate: 10}"),
        ("defaults.micro_batch=4", "defaults.precision=fp16", "defaults.optimizer={name: sgd, lr: 0.02}"),
        ("defaults.schedule={name: plateau, watch: held_out, held_out: 0.2, patience: 0}",),
    ],
    ids=["plain", "mixed", "fp16", "plateau"],
)  # fmt: skip
def test_two_processes_train_what_one_trains(prepare: Prepare, settings: tuple[str, ...]) -> None:
    """The same order, images, pairs and steps: what is left is the rounding of sums."""
    plan, alone = prepare("alone", *settings)
    _, together = prepare("together", *settings)
    expected, found = train_by(1, plan, alone), train_by(2, plan, together)
    within = 1e-2 if "fp16" in str(settings) else 1e-4
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=within, atol=within)
    for row, other in zip(log(together), log(alone), strict=True):
        assert row.pop(2) == pytest.approx(other.pop(2), abs=0.06)  # 3 of 60 rows, of which some are ties
        assert row == pytest.approx(other, rel=0.01)
    assert alone.training_fingerprint == together.training_fingerprint
    assert TrainingRecord.read(together.folder.recipe) is not None
    assert not together.folder.checkpoint.exists()


def test_two_processes_are_taught_as_one_is(prepare: Prepare) -> None:
    """Each asks the teachers; test images are shared out as all rows are."""
    settings = ("members.cnn.teacher={member: resnet5, test_rows: true}", "defaults.mixup=0.5")
    plan, alone = prepare("alone", *settings)
    _, together = prepare("together", *settings)
    run_job(alone.teachers[0], plan.dataset, plan.folds)
    expected, found = train_by(1, plan, alone), train_by(2, plan, together)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-4)
    record = TrainingRecord.read(together.folder.recipe)
    assert record is not None and record.images_per_epoch == 60 + 20


def test_batch_norm_and_dropout_see_shares_and_learn_all_the_same(prepare: Prepare) -> None:
    settings = (*CNN, "defaults.epochs=6", "defaults.ema=0.9")
    plan, job = prepare("together", *settings)
    weights = train_by(2, plan, job)
    assert all(bool(torch.isfinite(value.double()).all()) for value in weights.values())
    assert log(job)[-1][2] > 0.6


class StoppedError(Exception):
    """What a kill is to a process."""


def test_a_training_that_was_stopped_goes_on_to_the_same_bits(prepare: Prepare) -> None:
    """Also where dropout draws: the others draw by step, the first from its state."""
    settings = (*CNN, "defaults.ema=0.9")
    plan, whole = prepare("whole", *settings)
    expected = train_by(2, plan, whole)
    _, job = prepare("stopped", *settings)
    kept = list[bytes]()

    def stop(content: bytes) -> None:
        kept.append(content)
        if len(kept) == 3:
            raise StoppedError

    with pytest.raises(StoppedError):
        train_by(2, plan, job, checkpoint_seconds=0.0, keep=stop)
    found = train_by(2, plan, job)
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


@pytest.fixture
def killing(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Processes that help, by their ids."""
    pids, start = list[int](), helpers._start

    def started(task: Any) -> Any:
        helper = start(task)
        pids.append(helper.process.pid or 0)
        return helper

    monkeypatch.setattr(helpers, "_start", started)
    yield pids
    for pid in pids:
        with pytest.raises(ProcessLookupError):  # none is left
            os.kill(pid, 0)


def test_a_process_that_dies_ends_all_with_one_line(prepare: Prepare, killing: list[int]) -> None:
    plan, job = prepare("killed", "defaults.epochs=50")

    def kill(content: bytes) -> None:
        os.kill(killing[0], signal.SIGKILL)

    with pytest.raises(UserError) as raised:
        train_by(2, plan, job, checkpoint_seconds=0.0, keep=kill)
    how = "was killed (SIGKILL), as the system does when memory runs out"
    what = f"its process 1 {how}; run the same command to go on"
    assert str(raised.value) == f"{job.label}: {what}"
    assert job.folder.checkpoint.exists() and not job.folder.weights.exists()


def _damaged() -> Any:
    raise UserError.at("train.csv", "is damaged")


def _broken() -> Any:
    raise ValueError("no such thing\nand more")


@pytest.mark.parametrize(
    ("begin", "line"),
    [
        (_damaged, "train.csv: is damaged"),
        (_broken, "cnn fold 0: its process 1 crashed (ValueError: no such thing)"),
    ],
)
def test_what_a_process_says_is_said(
    prepare: Prepare, killing: list[int], begin: Callable[[], Any], line: str
) -> None:
    plan, job = prepare("broken")
    team = functools.partial(start_helpers, 2, begin, job, plan.folds)
    with pytest.raises(UserError) as raised:
        run_job(job, plan.dataset, plan.folds, EngineServices(team=team))
    assert str(raised.value) == line


def test_a_batch_that_is_too_small_says_so(prepare: Prepare) -> None:
    plan, job = prepare("small", "defaults.batch_size=3")
    with pytest.raises(
        UserError, match=r"^engine\.devices_per_training: 2 devices cannot share a batch of 3"
    ):
        train_by(2, plan, job)
