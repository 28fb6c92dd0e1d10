"""What each process does: build a network, and take and time steps of its training."""

from __future__ import annotations

import time
import traceback
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpu_benchmark.cases import IMAGE
from softvote.compute.autotune import choose_compute_config
from softvote.compute.device import find_device, for_training, synchronize
from softvote.config.recipe import Member
from softvote.data.normalisation import Normalisation
from softvote.errors import UserError
from softvote.inference.network import create_network
from softvote.task import Task
from softvote.training.cuda_graphs import StepGraphs, create_recorder
from softvote.training.learner import Learner
from softvote.training.rows import Split

STEPS = 100
"""Of a measurement, at most."""
WARM_UP = 7
"""Steps before it: more than a recorder waits for."""


class Trial:
    """A training whose steps are taken one at a time."""

    def __init__(self, member: Member, batch: int, rows: int) -> None:
        self.batch = batch
        torch.manual_seed(0)
        random = np.random.default_rng(0)
        images = torch.from_numpy(random.integers(0, 256, (rows, *IMAGE), dtype=np.uint8))
        labels = torch.from_numpy(random.integers(0, 10, rows))
        self.network = create_network(member, Task(10), IMAGE)
        shape = (batch, *IMAGE)
        self.compute_config = choose_compute_config(
            self.network.model, shape, member.precision, member.memory_format, {}
        )
        self.compute_config.to_device(self.network.model)
        self.learner = Learner(
            member, self.network, self.compute_config, Normalisation.of(images, member.normalise), 0
        )
        self.learner.start(1 << 20, "benchmark")
        device = self.compute_config.device
        self.data = Split(images, labels, np.arange(rows)).to(device)
        order = random.permutation(rows)[: rows // batch * batch].reshape(-1, batch)
        self.batches: Any = torch.from_numpy(order).to(device) if device == "cuda" else order
        self.taken = 0

    def record(self, recorded: bool) -> None:
        """Take steps that are recorded, or not; on a processor there is one way only."""
        device = self.compute_config.device
        if device == "cuda":
            recorder = create_recorder(device) if recorded else None
            self.learner.graphs = StepGraphs(
                torch.device(device), self.learner.optimizer, recorder, "benchmark"
            )
        self.steps(WARM_UP)

    def steps(self, count: int) -> Tensor:
        """Take some steps; the sum of their totals."""
        totals = torch.zeros(2, device=self.compute_config.device)
        for _ in range(count):
            which = self.batches[self.taken % len(self.batches)]
            totals += self.learner.step(0, self.taken, self.data, which)
            self.taken += 1
        return totals

    def images_per_second(self, seconds: float) -> float:
        """Of STEPS steps, or of as many as fit into the seconds."""
        device = self.compute_config.device
        synchronize(device)
        began = time.perf_counter()
        self.steps(5)
        synchronize(device)
        each = (time.perf_counter() - began) / 5
        count = max(2, min(STEPS, int(seconds / each)))
        began = time.perf_counter()
        self.steps(count)
        synchronize(device)
        return count * self.batch / (time.perf_counter() - began)


def work(line: Connection, rows: int) -> None:
    """Do what the parent says until it says None: ("build", member, batch), ("record", bool), ("time", s)."""
    trial: Trial | None = None
    device = find_device()
    with for_training(device):
        synchronize(device)
        line.send("ready")
        while (order := line.recv()) is not None:
            what, *arguments = order
            try:
                if what == "build":
                    trial = None  # its memory first
                    trial = Trial(*arguments, rows)
                    line.send(trial.compute_config.to_json())
                    continue
                assert trial is not None
                line.send(getattr(trial, {"record": "record", "time": "images_per_second"}[what])(*arguments))
            except Exception as error:  # told there, and the next order may go well
                traceback.print_exc()
                line.send(error if isinstance(error, UserError) else RuntimeError(repr(error)[:300]))
