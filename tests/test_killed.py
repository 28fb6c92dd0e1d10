"""Work that is killed at random moments, and at chosen ones, ends with the bits of what never was."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from conftest import Digits
from projects import RECIPE, write_project
from torch import nn
from trainings import find_half_written, results, start

from softvote.compute import autotune
from softvote.compute.precision import ComputeConfig

pytestmark = pytest.mark.slow

# One network with all that a checkpoint can hold; a step takes milliseconds.
EXTRAS = {"ema": 0.9, "augment": {"rotate": 10, "shift": 1}, "schedule": {"name": "one_cycle"}}
MEMBERS = {"cnn": {"model": "cnn"} | EXTRAS}  # with dropout
TRAIN = ("train", "tiny", "--checkpoint", "0.05")
STAGES = [("folds", "tiny"), TRAIN, ("ensemble", "tiny"), ("submit", "tiny")]


def project(root: Path, digits: Digits, **facts: Any) -> Path:
    recipe = RECIPE | {"epochs": 4}
    return write_project(root, digits, **{"defaults": recipe, "members": MEMBERS} | facts)


def run(root: Path, *words: str) -> float:
    """A command in a process of its own that nobody disturbs; the seconds it took."""
    began = time.perf_counter()
    process = start(root, *words)
    process.join()
    assert process.exitcode == 0, (root / "log.txt").read_text()
    return time.perf_counter() - began


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory, digits: Digits) -> list[Path]:
    """A project before each of its stages, and at its end; nobody disturbs it."""
    root = project(tmp_path_factory.mktemp("untouched") / "0", digits)
    roots = [root]
    for number, words in enumerate(STAGES, 1):
        roots.append(shutil.copytree(roots[-1], root.with_name(str(number))))
        run(roots[-1], *words)
    return roots


def finish(root: Path, done: int) -> dict[str, object]:
    """What is there after the stages that follow the first few."""
    for words in STAGES[done:]:
        run(root, *words)
    return results(root)


@pytest.mark.parametrize(
    ("blow", "kills", "seed"),
    [*((signal.SIGKILL, 5, seed) for seed in range(4)), (signal.SIGTERM, 2, 4), (signal.SIGINT, 2, 5)],
)
def test_kills_change_no_bit(
    tmp_path: Path, untouched: list[Path], blow: signal.Signals, kills: int, seed: int
) -> None:
    root, seconds = tmp_path / "killed", run(shutil.copytree(untouched[1], tmp_path / "timed"), *TRAIN)
    chance = random.Random(seed)
    while kills:
        if not root.exists():
            shutil.copytree(untouched[1], root)
        process = start(root, *TRAIN)
        process.join(chance.uniform(0.1, 0.5) * seconds)
        if process.is_alive():
            os.kill(process.pid or 0, blow)
            kills -= 1
        else:  # it was faster this time; once more from the beginning
            seconds *= 0.8
            shutil.rmtree(root)
        process.join()
    assert finish(root, 1) == results(untouched[-1])
    assert not find_half_written(root / "models" / "tiny" / "cnn")


def kill_before_rename(number: int, to: tuple[str, ...] = ("",)) -> None:
    """Let this process die when it has written so many files and is about to give the next its name.

    Args:
        to: what these names begin with; how many others there are depends on how old the data's files are.
    """
    left, rename = iter(range(number)), Path.replace

    def replace(self: Path, target: Path) -> Path:
        if Path(target).name.startswith(to) and next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        return rename(self, target)

    Path.replace = replace  # type: ignore[method-assign, assignment]


@pytest.mark.parametrize("stage", range(len(STAGES)), ids=[words[0] for words in STAGES])
def test_a_kill_before_any_rename_changes_no_bit(tmp_path: Path, untouched: list[Path], stage: int) -> None:
    """Of every file, be it cache, folds, weights, recipe, probabilities, scores, vote or ledger."""
    root = shutil.copytree(untouched[stage], tmp_path / "killed")
    words = STAGES[stage] if stage != 1 else STAGES[stage][:2]  # not before every checkpoint
    for number in itertools.count():
        process = start(root, *words, before=partial(kill_before_rename, number))
        process.join()
        if process.exitcode != -signal.SIGKILL:
            break
    assert process.exitcode == 0, (root / "log.txt").read_text()
    assert number >= 2
    assert finish(root, stage + 1) == results(untouched[-1])
    assert not find_half_written(root / "models" / "tiny" / "cnn")


# ---------------------------------------------------------------- a probe that other work sways


def fake_probe(precision: str, dies: bool = False) -> None:
    """Let the probe of this process find a precision the fastest; and perhaps let it die thereafter."""

    def fastest(model: nn.Module, shape: object, candidates: list[ComputeConfig]) -> ComputeConfig:
        return ComputeConfig(candidates[0].device, precision, "contiguous", {})

    autotune._fastest = fastest  # type: ignore[assignment]
    if dies:
        kill_before_rename(0, to=("checkpoint", "weights"))


def test_a_kill_before_the_first_checkpoint_keeps_the_precision(tmp_path: Path, digits: Digits) -> None:
    """Whatever a probe finds after it; and the other folds take the same."""
    auto = {"defaults": RECIPE | {"precision": "auto", "epochs": 1}, "folds": {"count": 2}}
    roots = [project(tmp_path / name, digits, **auto) for name in ("killed", "whole", "other")]
    for root in roots:
        run(root, "folds", "tiny")
    killed = start(roots[0], "train", "tiny", "--fold", "0", before=partial(fake_probe, "bf16", dies=True))
    killed.join()
    assert killed.exitcode == -signal.SIGKILL and not half_done(roots[0])
    for root, precision in zip(roots, ("fp32", "bf16", "fp32"), strict=True):
        process = start(root, "train", "tiny", before=partial(fake_probe, precision))
        process.join()
        assert process.exitcode == 0, (root / "log.txt").read_text()
    found = [weights(root) for root in roots]
    assert found[0] == found[1] != found[2]


def half_done(root: Path) -> list[Path]:
    return [*root.rglob("checkpoint*"), *root.rglob("weights*")]


def weights(root: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(root.rglob("weights.safetensors"))]
