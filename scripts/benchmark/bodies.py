"""What the processes of both loops run."""

from __future__ import annotations

import resource
import sys
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from benchmark.cases import Case, Facts
from benchmark.inputs import images_of
from benchmark.laps import EnoughLaps, Laps
from benchmark.ours import train_ours
from benchmark.parts import Stopwatch, watch
from benchmark.stock import STOCK_WORKERS, train_stock
from softvote.training.callbacks import Callback
from softvote.training.state import TrainingState

FOREVER = 10_000
"""Epochs; no lap lasts that long."""


def run_stock(line: Connection, case: Case, root: Path) -> Facts:
    """Laps of the stock loop."""
    laps, threads = Laps(line), torch.get_num_threads()
    with suppress(EnoughLaps):
        train_stock(case, images_of(case, root), FOREVER, 0, laps.end_step)
    return {"peak_memory_mib": peak_memory_mib(STOCK_WORKERS), "threads": threads}


class CountSteps(Callback):
    """Tells the laps of every step of a training of ours."""

    def __init__(self, laps: Laps) -> None:
        self.laps = laps

    def on_start(self, state: TrainingState) -> None:
        self.compute_config = state.compute_config

    def on_step(self, state: TrainingState) -> None:
        self.laps.end_step(state.batch_rows, state.compute_config)


def run_ours(
    line: Connection, case: Case, root: Path, threads: int, seed: int, stopwatch: Stopwatch | None = None
) -> Facts:
    """Laps of a training of ours."""
    torch.set_num_threads(threads)
    counting = CountSteps(Laps(line, stopwatch))
    with suppress(EnoughLaps):
        train_ours(case, images_of(case, root), FOREVER, seed, [counting])
    return {
        "peak_memory_mib": peak_memory_mib(),
        "threads": threads,
        "execution": counting.compute_config.to_json(),
    }


def run_ours_in_parts(line: Connection, case: Case, root: Path) -> Facts:
    """The same on one thread, with the parts of a step told apart."""
    stopwatch = Stopwatch()
    with watch(stopwatch):
        return run_ours(line, case, root, 1, 0, stopwatch)


def peak_memory_mib(workers: int = 0) -> int:
    """The largest resident set of this process, and as many of its largest child's as it had workers."""
    peaks = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return (peaks[0] + workers * peaks[1]) // (1 << 20 if sys.platform == "darwin" else 1 << 10)
