"""Trainings that are stopped on their way, and what must come out of them all the same."""

from __future__ import annotations

import contextlib
import csv
import multiprocessing
import os
import re
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest
from projects import softvote

with_torch = multiprocessing.get_context("forkserver")
# Each process of it starts with torch in its memory; otherwise nearly all kills would fall into its import.
_STAGES = [f"softvote.stages.{stage}" for stage in ("folds", "train", "ensemble", "submit")]
with_torch.set_forkserver_preload(["softvote.training.train", "softvote.inference.predictor", *_STAGES])

# They say how long a training took, and when files were written.
_OF_THE_CLOCK = {"log.csv", "recipe.json", "facts.json", "sources-digits.json"}
_PASSING = re.compile(r"\.lock$|\.gitignore$|\.tmp")


def results(root: Path) -> dict[str, object]:
    """The content of every file that a pipeline leaves, apart from times, locks and what is half-written."""
    files = [path for folder in ("models", "submissions") for path in (root / folder).rglob("*")]
    return {
        path.relative_to(root).as_posix(): _ledger(path) if path.name == "ledger.csv" else path.read_bytes()
        for path in sorted(files)
        if path.is_file() and path.name not in _OF_THE_CLOCK and not _PASSING.search(str(path))
    }


def find_half_written(folder: Path) -> list[str]:
    """Files that a process which is gone would have given their names."""
    return [path.name for path in folder.rglob("*.tmp*")]


def _ledger(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return [{name: text for name, text in row.items() if name != "time"} for row in csv.DictReader(file)]


def start(root: Path, *words: str, before: Callable[[], None] | None = None) -> ForkServerProcess:
    """A command in a process group of its own, which adds what it says to `log.txt`.

    Args:
        before: called in that process first.
    """
    process = with_torch.Process(target=_run, args=(root, words, before))
    process.start()
    return process


def _run(root: Path, words: tuple[str, ...], before: Callable[[], None] | None) -> None:
    os.setsid()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # the engine's own processes leave it blocked
    with (root / "log.txt").open("a") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        if before:
            before()
        raise SystemExit(softvote(root, *words))


def until(path: Path, run: Future[int]) -> None:
    """Wait for a file that a run is about to write."""
    while not path.exists():
        assert not wait([run], timeout=0.01).done, f"the run ended without {path}"


@contextlib.contextmanager
def two_cores() -> Iterator[None]:
    """Trainings in processes take one thread each, as those in this process do; bits depend on that."""
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system does not bind processes to cores")
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:2])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
