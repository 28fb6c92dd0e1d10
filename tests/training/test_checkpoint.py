"""training.checkpoint: a training that was stopped between any two steps ends as if it had not been."""

from __future__ import annotations

import hashlib
import resource
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Digits
from torch import Tensor
from trainings import with_torch

from softvote.config.recipe import Member
from softvote.errors import UserError
from softvote.task import Task
from softvote.training.callbacks import ShowProgress
from softvote.training.checkpoint import Checkpoints
from softvote.training.rows import Split
from softvote.training.train import TrainedNetwork, TrainingSpec, train

STATE: dict[str, Any] = {"weights": torch.arange(5), "epoch": {"number": 3}, "log": [{"loss": 0.5}]}


class StoppedError(Exception):
    """What a kill is to a process."""


class StoppedAfter(Checkpoints):
    """Checkpoints after every step, and no step after so many of them."""

    def __init__(self, path: Path, writes: int) -> None:
        super().__init__(path, "key", 0.0)
        self.left = writes

    def write(self, state: dict[str, Any]) -> None:
        super().write(state)
        self.left -= 1
        if not self.left:
            raise StoppedError


def member(**facts: Any) -> Member:
    usual = {
        "model": "cnn", "epochs": 2, "batch_size": 32, "optimizer": {"name": "adamw", "lr": 0.004},
        "precision": "fp32", "memory_format": "contiguous",
    }  # fmt: skip
    return Member.model_validate(usual | facts)


def learn(digits: Digits, recipe: Member, checkpoints: Checkpoints | None = None) -> TrainedNetwork:
    rows = np.arange(128)
    times = 2 if recipe.model == "sum_cnn" else 1  # 8 x 8 are too small for it
    images = digits[0][rows].repeat(times, axis=1).repeat(times, axis=2)
    data = Split(torch.from_numpy(images[:, None]), torch.from_numpy(digits[1][rows]), rows)
    spec = TrainingSpec(recipe, Task(10), 7, "tiny fold 0")
    if checkpoints is None:
        return train(spec, data)
    return train(spec, data, [ShowProgress(), checkpoints], checkpoints.read())


def weights(trained: TrainedNetwork) -> dict[str, Tensor]:
    return trained.network.model.state_dict()


def log(trained: TrainedNetwork) -> list[dict[str, Any]]:
    """What does not depend on the clock."""
    return [{k: v for k, v in row.items() if "second" not in k} for row in trained.log]


RECIPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "ema": {"ema": 0.9},
    "mixup": {"mixup": 0.4},
    "augment": {"augment": {"rotate": 10, "shift": 1, "elastic": 1}, "no_aug_epochs": 1},
    "albumentations": {"augment": {"engine": "albumentations", "rotate": 10, "shift": 1}},
    "one_cycle": {"schedule": {"name": "one_cycle"}},
    "cosine": {"schedule": {"name": "cosine"}},
    "plateau": {"schedule": {"name": "plateau"}},
    "held_out": {"schedule": {"name": "plateau", "watch": "held_out", "held_out": 0.2}},
    "sgd": {"optimizer": {"name": "sgd", "lr": 0.02, "momentum": 0.9}},
    "channels_last": {"memory_format": "channels_last"},
    "bf16": {"precision": "bf16", "memory_format": "channels_last"},
    "features": {"model": "sum_cnn", "init_from": "other", "freeze": True},
    "frozen": {"model": "sum_cnn", "init_from": "other", "freeze": True, "augment": {"rotate": 10}},
}


@pytest.mark.slow_but("plain", "augment", "ema", "held_out", "frozen", "features")
@pytest.mark.parametrize("facts", RECIPES.values(), ids=RECIPES)
def test_going_on_gives_the_same_bits(digits: Digits, tmp_path: Path, facts: dict[str, Any]) -> None:
    whole, path = learn(digits, member(**facts)), tmp_path / "checkpoint.pt"
    for writes in (1, 3, 2):  # within the first epoch, at its end and within the next
        with pytest.raises(StoppedError):
            learn(digits, member(**facts), StoppedAfter(path, writes))
    again = learn(digits, member(**facts), Checkpoints(path, "key", 0.0))
    assert log(again) == log(whole)
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(again)[name]), name


def test_one_that_was_stopped_after_its_last_step_ends(
    digits: Digits, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Between the last step and the weights nothing is left to feed."""
    path, steps = tmp_path / "checkpoint.pt", 2 * 4
    with pytest.raises(StoppedError):
        learn(digits, member(), StoppedAfter(path, steps))
    again = learn(digits, member(), Checkpoints(path, "key", 60))
    assert "tiny fold 0: goes on in epoch 2 of 2" in capsys.readouterr().err
    whole = weights(learn(digits, member()))
    assert all(torch.equal(value, whole[name]) for name, value in weights(again).items())


def test_what_was_fed_is_not_fed_again(digits: Digits, tmp_path: Path) -> None:
    path, recipe = tmp_path / "checkpoint.pt", member()
    with pytest.raises(StoppedError):
        learn(digits, recipe, StoppedAfter(path, 5))
    left = StoppedAfter(path, 1000)
    learn(digits, recipe, left)
    assert 1000 - left.left == 2 * 4 - 5


def test_a_run_that_goes_on_says_so(
    digits: Digits, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(StoppedError):
        learn(digits, member(), StoppedAfter(tmp_path / "checkpoint.pt", 5))
    capsys.readouterr()
    learn(digits, member(), Checkpoints(tmp_path / "checkpoint.pt", "key", 60))
    assert "tiny fold 0: goes on in epoch 2 of 2" in capsys.readouterr().err


def test_the_precision_is_that_of_the_beginning(digits: Digits, tmp_path: Path) -> None:
    """A probe may choose otherwise the second time; half a training in each would be neither."""
    path = tmp_path / "checkpoint.pt"
    with pytest.raises(StoppedError):
        learn(digits, member(memory_format="channels_last"), StoppedAfter(path, 2))
    gone_on = learn(digits, member(memory_format="auto"), Checkpoints(path, "key", 60))
    assert gone_on.compute_config.memory_format == "channels_last"
    assert gone_on.compute_config.probe == {}


def test_a_training_that_is_lost_is_not_kept(digits: Digits, tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoint.pt", "key", 0.0)
    with pytest.raises(UserError, match="the loss is"):
        learn(digits, member(optimizer={"name": "sgd", "lr": 1e30}), checkpoints)
    kept = checkpoints.read()
    assert kept is None or all(value.isfinite().all() for value in kept["model"].values())


# ---------------------------------------------------------------- the file


def test_what_is_written_is_read(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "a" / "checkpoint.pt", "key", 60)
    assert checkpoints.read() is None
    checkpoints.write(STATE)
    found = checkpoints.read()
    assert found is not None
    assert torch.equal(found["weights"], STATE["weights"])
    assert (found["epoch"], found["log"]) == (STATE["epoch"], STATE["log"])
    checkpoints.remove()
    assert checkpoints.read() is None


def test_the_state_of_another_training_is_not_gone_on_from(tmp_path: Path) -> None:
    Checkpoints(tmp_path / "checkpoint.pt", "key", 60).write(STATE)
    assert Checkpoints(tmp_path / "checkpoint.pt", "other", 60).read() is None


def test_what_other_threads_computed_is_named_and_not_gone_on_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "checkpoint.pt"
    Checkpoints(path, "key", 60, threads=4).write(STATE)
    assert Checkpoints(path, "other", 60, threads=3).read() is None and not capsys.readouterr().err
    assert Checkpoints(path, "key", 60, threads=3).read() is None
    told = capsys.readouterr().err
    assert told == f"{path}: threads changed, 4 -> 3, and with them the bits; this training starts again\n"
    assert Checkpoints(path, "key", 60, threads=4).read() is not None


@pytest.mark.parametrize(("threads", "goes"), [(4, "starts again"), (None, "goes on")])
def test_what_another_number_of_processes_computed_is_named(
    tmp_path: Path, threads: int | None, goes: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Accelerators, which have no threads that matter, repeat no bits in any case."""
    path = tmp_path / "checkpoint.pt"
    Checkpoints(path, "key", 60, threads=threads).write(STATE)
    content = Checkpoints(path, "key", 60, threads=threads, processes=2).read()
    assert (content is not None) == (goes == "goes on")
    what = f"devices_per_training changed, 1 -> 2, and with it the bits; this training {goes}"
    assert capsys.readouterr().err == f"{path}: {what}\n"
    assert Checkpoints(path, "key", 60, threads=threads).read() is not None and not capsys.readouterr().err


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "cut off": lambda content: content[:-1],
    "one bit": lambda content: content[:200] + bytes([content[200] ^ 1]) + content[201:],
    "foreign": lambda content: b"PK\x03\x04" + bytes(500),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file_is_named_and_set_aside(
    tmp_path: Path, damage: Callable[[bytes], bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoint.pt", "key", 60)
    checkpoints.write(STATE)
    damaged = damage(checkpoints.path.read_bytes())
    checkpoints.path.write_bytes(damaged)
    assert checkpoints.read() is None
    assert f"{checkpoints.path}: is damaged, set aside as checkpoint.damaged" in capsys.readouterr().err
    assert (tmp_path / "checkpoint.damaged").read_bytes() == damaged
    assert not checkpoints.path.exists()


def test_a_whole_file_that_is_no_state_is_set_aside(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoint.pt", "key", 60)
    checkpoints.path.write_bytes(hashlib.sha256(b"no state").hexdigest().encode() + b"no state")
    assert checkpoints.read() is None
    assert (tmp_path / "checkpoint.damaged").exists()


@pytest.mark.parametrize(("seconds", "due"), [(0.0, True), (1000.0, False)])
def test_when_one_is_due(tmp_path: Path, seconds: float, due: bool) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoint.pt", "key", seconds)
    assert checkpoints.is_due() == due
    checkpoints.write(STATE)
    assert checkpoints.is_due() == due


def write_on_a_full_disk(path: Path, line: Connection) -> None:
    """Write a checkpoint, then one for which no room is left, and say what came of that."""
    checkpoints = Checkpoints(path, "key", 60)
    checkpoints.write({"weights": torch.arange(5)})
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
    try:
        checkpoints.write({"weights": torch.zeros(100_000)})
    except UserError as error:
        line.send(str(error))


def test_a_disk_that_is_full_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    here, there = with_torch.Pipe()
    process = with_torch.Process(target=write_on_a_full_disk, args=(path, there))
    process.start()
    process.join()
    assert here.poll() and here.recv().startswith(f"{path}: cannot be written (")
    found = Checkpoints(path, "key", 60).read()
    assert found is not None and torch.equal(found["weights"], torch.arange(5))
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pt"]
