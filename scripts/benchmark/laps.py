"""Laps of a loop, timed in its own process on order."""

from __future__ import annotations

import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Literal

import torch

from benchmark.cases import Facts
from benchmark.limit import convolution_rate, synchronise
from benchmark.parts import Stopwatch
from softvote.compute.precision import ComputeConfig

WARM_UP = 8
"""Steps before each lap that do not count: more than a DataLoader's workers hold ready after a pause."""


class EnoughLaps(Exception):  # noqa: N818 (nothing went wrong)
    """No more laps."""


@dataclass(frozen=True)
class Order:
    """What a loop shall do: a lap of some seconds, a rest, the large convolution, or stop."""

    what: Literal["lap", "rest", "limit", "stop"]
    seconds: float = 0.0
    threads: int | None = None


class Laps:
    """Counts the steps of a loop in one process, when it is told to.

    Between the end of a lap and the next order the loop goes on, so that of several loops side by side
    none has the machine for itself within its lap.

    Args:
        line: to the process that gives orders.
        stopwatch: tells where the time of a lap went.
    """

    def __init__(self, line: Connection, stopwatch: Stopwatch | None = None) -> None:
        self.line, self.stopwatch = line, stopwatch
        self.is_ready = self.is_counting = False
        self.warming = self.images = 0
        self.started = self.seconds = 0.0

    def end_step(self, images: int, compute_config: ComputeConfig | None = None) -> None:
        """Call after every step."""
        if not self.is_ready:  # the first step: everything is built and tuned
            self.is_ready = True
            self.line.send("ready")
            self._obey(compute_config)
        elif self.line.poll():
            self._obey(compute_config)
        elif self.warming:
            self.warming -= 1
            if not self.warming:
                self._start()
        elif self.is_counting:
            self.images += images
            if time.perf_counter() - self.started >= self.seconds:
                self._finish()

    def _obey(self, compute_config: ComputeConfig | None) -> None:
        while (order := self.line.recv()).what in ("rest", "limit"):
            if order.what == "limit" and compute_config:
                torch.set_num_threads(order.threads)
                self.line.send({"rate": convolution_rate(compute_config)})
        if order.what == "stop":
            raise EnoughLaps
        if order.threads:
            torch.set_num_threads(order.threads)
        self.warming, self.seconds, self.is_counting = WARM_UP, order.seconds, False

    def _start(self) -> None:
        synchronise()
        self.images, self.is_counting, self.started = 0, True, time.perf_counter()
        if self.stopwatch:
            self.stopwatch.start()

    def _finish(self) -> None:
        synchronise()
        found: Facts = {"rate": self.images / (time.perf_counter() - self.started)}
        if self.stopwatch:
            found["shares"] = self.stopwatch.shares()
        self.is_counting = False
        self.line.send(found)
