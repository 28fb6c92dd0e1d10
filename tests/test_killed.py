"""Trainings that are killed at random moments end with the bits of one that never was."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Iterator
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest
from conftest import Digits
from projects import RECIPE, softvote, write_project

# One network with all that a checkpoint can hold; a step takes milliseconds.
EXTRAS = {"ema": 0.9, "augment": {"rotate": 10, "shift": 1}, "schedule": {"name": "one_cycle"}}
MEMBERS = {"resnet5": {"model": "resnet5"} | EXTRAS}

_context = multiprocessing.get_context("forkserver")
# Each process starts with torch in its memory; otherwise nearly all kills would fall into its import.
_context.set_forkserver_preload(["softvote.training", "softvote.inference", "softvote.stages.train"])


def train(root: str) -> None:
    """What a process of its own does: the train stage, with a checkpoint after every few steps."""
    with (Path(root) / "log.txt").open("a") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        raise SystemExit(softvote(Path(root), "train", "tiny", "--checkpoint", "0.05"))


def started(root: Path) -> ForkServerProcess:
    process = _context.Process(target=train, args=(str(root),))
    process.start()
    return process


def results(root: Path) -> dict[str, bytes]:
    """Weights and probabilities of every training."""
    files = ("weights.safetensors", "oof.npz", "test.npy")
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for name in files
        for path in sorted((root / "models" / "tiny").rglob(name))
    }


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory, digits: Digits) -> tuple[Path, float]:
    """A project that was trained at one go, and how many seconds that took."""
    root = project(tmp_path_factory.mktemp("untouched"), digits)
    began = time.perf_counter()
    process = started(root)
    process.join()
    assert process.exitcode == 0
    return root, time.perf_counter() - began


def project(root: Path, digits: Digits) -> Path:
    write_project(root, digits, defaults=RECIPE | {"epochs": 6}, members=MEMBERS)
    assert softvote(root, "folds", "tiny") == 0
    return root


def moments(seconds: float, kills: int) -> Iterator[float]:
    """After how long each kill falls; short enough that most fall into the training."""
    chance = random.Random(2026)
    for _ in range(kills):
        yield chance.uniform(0.1, 0.5) * seconds


@pytest.mark.parametrize(("blow", "kills"), [(signal.SIGKILL, 20), (signal.SIGTERM, 4), (signal.SIGINT, 4)])
def test_kills_change_no_bit(
    tmp_path: Path, digits: Digits, untouched: tuple[Path, float], blow: signal.Signals, kills: int
) -> None:
    whole, seconds = untouched
    root = project(tmp_path, digits)
    landed = 0
    for moment in moments(seconds, kills):
        process = started(root)
        process.join(moment)
        if process.is_alive():
            os.kill(process.pid or 0, blow)
            landed += 1
        process.join()
    assert landed >= kills // 4, "hardly any kill fell into the work"
    last = started(root)
    last.join()
    assert last.exitcode == 0, (root / "log.txt").read_text()
    assert results(root) == results(whole)
    left = [path.name for path in (root / "models").rglob("*") if path.name.startswith((".", "checkpoint"))]
    assert set(left) <= {".lock", ".cache"}
