"""Where the time of a training goes."""

from __future__ import annotations

import functools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from benchmark.limit import synchronise
from softvote.compute.draws import Augmenter
from softvote.compute.precision import ComputeConfig
from softvote.config.augment import Augment
from softvote.data.normalisation import Normalisation
from softvote.heads.digits import DigitsHead
from softvote.heads.softmax import SoftmaxHead
from softvote.inference.network import Network
from softvote.training import learner
from softvote.training.augment import create_device_augmenter
from softvote.training.rows import Split

PARTS = ["gather", "augmentation", "normalise, lay out", "forward", "loss", "backward", "optimiser", "rest"]
"""Rest is the loop around the steps, the learning rate, and counting right answers."""


FUNCTIONS: list[tuple[str, Any, str]] = [
    ("gather", Split, "take"),
    ("normalise, lay out", Normalisation, "__call__"),
    ("normalise, lay out", ComputeConfig, "to_memory_format"),
    ("forward", Network, "outputs"),
    ("loss", SoftmaxHead, "loss"),
    ("loss", DigitsHead, "loss"),
    ("backward", Tensor, "backward"),
]


class Stopwatch:
    """Tells the parts of a training's steps apart. A part within another is its own, and not the other's."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        self.seconds = defaultdict[str, float](float)
        self.part, self.since = "rest", time.perf_counter()

    def switch(self, part: str) -> str:
        """Another part begins; the one that is interrupted."""
        synchronise()
        now, before = time.perf_counter(), self.part
        self.seconds[before] += now - self.since
        self.part, self.since = part, now
        return before

    def shares(self) -> dict[str, float]:
        """Of the time since the start, by part; they sum to 1."""
        self.switch(self.part)
        total = sum(self.seconds.values())
        return {part: self.seconds[part] / total for part in PARTS}

    def timing(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, its time noted."""

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            before = self.switch(part)
            try:
                return function(*args, **kwargs)
            finally:
                self.switch(before)

        return call


@contextmanager
def watch(stopwatch: Stopwatch) -> Iterator[None]:
    """Trainings that begin and end in here tell the stopwatch what they do."""

    def create_watched(spec: Augment | None) -> Augmenter:
        return stopwatch.timing("augmentation", create_device_augmenter(spec))

    def begins(*_: Any) -> None:
        stopwatch.switch("optimiser")

    def ends(*_: Any) -> None:
        stopwatch.switch("rest")

    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(learner, "create_device_augmenter", create_watched))
        for part, owner, name in FUNCTIONS:
            timed = stopwatch.timing(part, getattr(owner, name))
            stack.enter_context(mock.patch.object(owner, name, timed))
        stack.callback(register_optimizer_step_pre_hook(begins).remove)
        stack.callback(register_optimizer_step_post_hook(ends).remove)
        yield
