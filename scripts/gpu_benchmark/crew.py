"""The processes that measure, and what they are told to."""

from __future__ import annotations

import multiprocessing
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from gpu_benchmark.cases import Facts
from gpu_benchmark.trial import work
from softvote.config.recipe import Member
from softvote.errors import UserError

PATIENCE = 60.0
"""Seconds that a process may take to answer."""


@dataclass
class Crew:
    """The processes that measure."""

    lines: list[Connection] = field(default_factory=list)
    started: float = 0.0

    def start(self, count: int, rows: int) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["softvote.training.train"])
        began = time.perf_counter()
        for _ in range(count):
            ours, its = context.Pipe()
            context.Process(target=work, args=(its, rows), daemon=True).start()
            its.close()
            self.lines.append(ours)
        for line in self.lines:
            line.recv()
        self.started = time.perf_counter() - began

    def tell(self, count: int, *order: Any) -> list[Any]:
        """What the first so many processes answer to an order, side by side.

        Raises:
            Exception: one of them failed.
        """
        for line in self.lines[:count]:
            line.send(order)
        answers = [self._answer(line) for line in self.lines[:count]]
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers

    def _answer(self, line: Connection) -> Any:
        if not line.poll(PATIENCE):
            raise UserError(f"a process gave no answer within {PATIENCE:.0f} s")
        return line.recv()

    def stop(self) -> None:
        for line in self.lines:
            line.send(None)


def measure(crew: Crew, member: Member, batch: int, processes: list[int], seconds: float) -> Facts:
    """One network with one size of batch: images per second, in all processes together."""
    began, many = time.perf_counter(), max(processes)
    compute_config = crew.tell(many, "build", member, batch)[0]
    crew.tell(1, "record", False)
    plain = crew.tell(1, "time", seconds)[0]
    crew.tell(many, "record", True)
    recorded = {str(count): sum(crew.tell(count, "time", seconds)) for count in sorted(processes)}
    return {
        "batch": batch,
        "precision": compute_config["precision"], "memory_format": compute_config["memory_format"],
        "plain": plain, "recorded": recorded, "took": time.perf_counter() - began,
    }  # fmt: skip
