"""CUDA graphs of training steps: all that the device does in a step is recorded once and then told in one go.

A step of a small network is some hundred kernels of some microseconds, and the processor takes longer to
launch them one by one than the device takes to run them. The first steps of each kind are taken as they are,
on the stream of the training, so that libraries are loaded, algorithms chosen and the optimiser's state is
there; the next one is recorded (which computes nothing) and replayed from then on. What changes from step to
step is read from memory that stays where it is. See "CUDA graphs" in PyTorch's notes on CUDA.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer

from softvote.compute.draws import SeedInMemory
from softvote.progress import note

SWITCH = "SOFTVOTE_CUDA_GRAPHS"
"""Of the environment: 0 takes each step as it is."""


_WARM_UP = 3  # steps of a kind before it is recorded


Step = Callable[[Tensor, Tensor], Tensor]
"""(which rows int64 (B,), share of mixing float32 ()) -> totals float32 (2,)."""


class Recorder(Protocol):
    """Records what a device does."""

    def record(self, step: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        """What does the step again, and where its result, of any shape, will then stand.

        Raises:
            RuntimeError: it cannot be recorded; steps can be taken as before.
        """
        ...


class CudaRecorder:
    """Records on the current stream; what is recorded shares memory, so replays must not overlap."""

    def __init__(self) -> None:
        self.pool = torch.cuda.graph_pool_handle()

    def record(self, step: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        """Capture a CUDA graph of the step, whose result may have any shape.

        Raises:
            RuntimeError: some of it waits for the device, or cannot be captured for other reasons.
        """
        generator = torch.cuda.default_generators[torch.cuda.current_device()]
        before, stream = generator.clone_state(), torch.cuda.current_stream()
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, pool=self.pool, stream=stream):
                result = step()
        except RuntimeError:
            generator.graphsafe_set_state(before)  # a capture that failed never lets go of its state
            torch.cuda.set_stream(stream)
            torch.cuda.synchronize()
            raise
        return graph.replay, result


class _Number:
    """A number in memory that stays, written where it changes; writing it waits for nothing."""

    def __init__(self, memory: Tensor) -> None:
        self.memory, self._value = memory, math.nan

    def become(self, value: float) -> None:
        """Be that number."""
        if value != self._value:
            self.memory.fill_(value)
            self._value = value


@dataclass
class _Kind:
    """Steps that differ in nothing but what lies in memory.

    Attributes:
        which: int64 (B,), the rows of the step.
        gradients: of each parameter, where a replay leaves them.
    """

    which: Tensor
    taken: int = 0
    replay: Callable[[], None] | None = None
    totals: Tensor | None = None
    gradients: list[Tensor | None] = field(default_factory=list)


class StepGraphs:
    """The steps of one training, recorded by their kinds.

    Args:
        device: of the training.
        optimizer: whose learning rate a recorded step reads.
        recorder: of the device; None takes every step as it is, from the same memory.
        label: what messages call the training.
    """

    def __init__(
        self, device: torch.device, optimizer: Optimizer, recorder: Recorder | None, label: str
    ) -> None:
        self.device, self.optimizer, self.recorder, self.label = device, optimizer, recorder, label
        self._share = _Number(torch.ones((), device=device))
        self._rates = [_Number(torch.zeros((), device=device)) for _ in optimizer.param_groups]
        self._seeds = dict[str, SeedInMemory]()
        self._kinds = dict[tuple[Any, ...], _Kind]()

    def seed(self, what: str, value: int) -> SeedInMemory:
        """The seed of that name; it becomes another between steps, not in one."""
        if what not in self._seeds:
            self._seeds[what] = SeedInMemory(value, self.device)
        self._seeds[what].become(value)
        return self._seeds[what]

    @contextlib.contextmanager
    def rates_in_memory(self) -> Iterator[None]:
        """Let the optimiser read its learning rates from memory that stays."""
        groups = self.optimizer.param_groups
        rates = [group["lr"] for group in groups]
        for group, rate in zip(groups, self._rates, strict=True):
            group["lr"] = rate.memory
        try:
            yield
        finally:
            for group, rate in zip(groups, rates, strict=True):
                group["lr"] = rate

    def take(self, kind: tuple[Any, ...], which: Tensor, share: float, step: Step) -> Tensor:
        """Take a step; its totals, float32 (2,), which hold until the next.

        Args:
            kind: what else the step depends on; steps of one kind do the same with what they read.
            which: int64 (B,), rows on the device.
            share: that stays itself where images are mixed.
            step: the step itself. In it no tensor may be copied from the processor, and nothing waited for.
        """
        kind = (*kind, len(which))
        known = self._kinds.setdefault(kind, _Kind(torch.empty_like(which)))
        known.which.copy_(which)
        self._share.become(share)
        for rate, group in zip(self._rates, self.optimizer.param_groups, strict=True):
            rate.become(group["lr"])
        if known.replay is None and self.recorder is not None and known.taken >= _WARM_UP:
            self._record(known, step)
        if known.replay is None or known.totals is None:
            known.taken += 1
            return step(known.which, self._share.memory)
        known.replay()
        for parameter, gradient in zip(self._parameters(), known.gradients, strict=True):
            parameter.grad = gradient
        return known.totals

    def _record(self, known: _Kind, step: Step) -> None:
        assert self.recorder is not None
        share = self._share.memory
        try:
            with _capturable(self.optimizer.param_groups):
                known.replay, known.totals = self.recorder.record(lambda: step(known.which, share))
        except RuntimeError as error:
            self.recorder = None
            self._forget()
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            note(f"{self.label}: steps cannot be recorded ({reason}); it goes on without CUDA graphs")
            return
        known.gradients = [parameter.grad for parameter in self._parameters()]

    def _forget(self) -> None:
        """Take every step as it is from now on."""
        for known in self._kinds.values():
            known.replay = known.totals = None
        for parameter in self._parameters():
            parameter.grad = None

    def _parameters(self) -> list[Tensor]:
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]


@contextlib.contextmanager
def _capturable(groups: Sequence[dict[str, Any]]) -> Iterator[None]:
    """Tell the optimiser that its steps are recorded; taken as they are, it would warn of that."""
    told = [group for group in groups if "capturable" in group]
    for group in told:
        group["capturable"] = True
    try:
        yield
    finally:
        for group in told:
            group["capturable"] = False


def create_recorder(device: str) -> Recorder | None:
    """The recorder of a device; None where it has none, or the environment says so."""
    return CudaRecorder() if device == "cuda" and os.environ.get(SWITCH, "1") != "0" else None
