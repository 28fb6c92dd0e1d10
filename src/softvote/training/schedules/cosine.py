"""Warm-up, then half a cosine."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from softvote.config.entries import ScheduleConfig
from softvote.config.schema import BelowOne, Fraction
from softvote.training.schedules.base import register_schedule

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler


@register_schedule(rank=2)
class Cosine(ScheduleConfig):
    """Linear warm-up, then half a cosine down (Loshchilov and Hutter 2017, one cycle)."""

    name: Literal["cosine"]
    """`cosine`: linear warm-up, then half a cosine down, moved after every step."""
    warmup: BelowOne = 0.05
    """Proportion of all optimiser steps in which the learning rate rises."""
    final: Fraction = 0.0
    """Last learning rate, as a proportion of the highest."""

    def create(self, optimizer: Optimizer, steps: int) -> LRScheduler:
        """Build torch's scheduler."""
        from torch.optim.lr_scheduler import LambdaLR

        return LambdaLR(optimizer, self.proportions(steps))

    def proportions(self, steps: int) -> Callable[[int], float]:
        """The proportion of the highest learning rate at each step of `steps`."""
        warmup = round(self.warmup * steps)

        def proportion(step: int) -> float:
            if step < warmup:
                return (step + 1) / (warmup + 1)
            progress = min(1.0, (step - warmup) / max(1, steps - warmup))
            return self.final + (1 - self.final) * (1 + math.cos(math.pi * progress)) / 2

        return proportion
