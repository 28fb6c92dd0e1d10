"""Up and down once, with momentum against it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from softvote.config.entries import ScheduleConfig
from softvote.training.schedules.base import register_schedule

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler


@register_schedule(rank=3)
class OneCycle(ScheduleConfig):
    """Cosine up from 1/25, cosine down to almost nothing (Smith and Topin 2018).

    Momentum, or the first beta, runs against it between 0.95 and 0.85, whatever the optimizer says.
    """

    name: Literal["one_cycle"]
    """`one_cycle`: torch's OneCycleLR, moved after every step."""
    warmup: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Proportion of all optimiser steps in which the learning rate rises."""

    def create(self, optimizer: Optimizer, steps: int) -> LRScheduler:
        """Build torch's scheduler."""
        from torch.optim.lr_scheduler import OneCycleLR

        group, rates = optimizer.param_groups[0], [each["lr"] for each in optimizer.param_groups]
        has_momentum = "betas" in group or group.get("momentum", 0) > 0
        # torch wants one step more than a training of very few steps has, and fails where the climb would
        # end on the first of them.
        total = max(steps, 2) + 1
        total += self.warmup * total == 1
        return OneCycleLR(
            optimizer, max_lr=rates, total_steps=total, pct_start=self.warmup,
            cycle_momentum=has_momentum,
        )  # fmt: skip
