"""Optimisers and learning-rate schedules, from their specifications to torch's own."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR, ReduceLROnPlateau

from softvote.config import recipe
from softvote.config.registry import OptimizerConfig


def create_optimizer(spec: OptimizerConfig, model: nn.Module, device: str) -> Optimizer:
    """Build the optimiser over all parameters of the network, fused where the device has it."""
    return spec.create(model.parameters(), fused=device in ("cpu", "cuda"))


class LearningRate:
    """Moves the learning rate: after every step, or after every epoch by the loss that is watched.

    Args:
        spec: the schedule.
        optimizer: whose rate it moves.
        steps: optimiser steps in the whole training.
    """

    def __init__(self, spec: recipe.Schedule, optimizer: Optimizer, steps: int) -> None:
        self.optimizer = optimizer
        self._by_step: LRScheduler | None = None
        self._by_epoch: ReduceLROnPlateau | None = None
        if isinstance(spec, recipe.Plateau):
            self._by_epoch = ReduceLROnPlateau(optimizer, factor=spec.factor, patience=spec.patience)
        elif isinstance(spec, recipe.OneCycle):
            self._by_step = _one_cycle(spec, optimizer, steps)
        elif isinstance(spec, recipe.Cosine):
            self._by_step = LambdaLR(optimizer, cosine_share(spec, steps))

    @property
    def now(self) -> float:
        """The learning rate of the next step."""
        return float(self.optimizer.param_groups[0]["lr"])

    @property
    def moves_momentum(self) -> bool:
        """Whether momentum, or the first beta, moves with the rate."""
        return bool(getattr(self._by_step, "cycle_momentum", False))

    def state(self) -> dict[str, Any]:
        """What `restore` needs to go on from here; the optimizer's own state is not in it."""
        schedule = self._by_step or self._by_epoch
        return dict(schedule.state_dict()) if schedule else {}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        schedule = self._by_step or self._by_epoch
        if schedule:
            schedule.load_state_dict(state)

    def step_ended(self) -> None:
        """Call after every optimiser step."""
        if self._by_step is not None:
            self._by_step.step()

    def epoch_ended(self, watched_loss: float) -> None:
        """Call after every epoch with the loss a plateau is looked for in."""
        if self._by_epoch is not None:
            self._by_epoch.step(watched_loss)


def _one_cycle(spec: recipe.OneCycle, optimizer: Optimizer, steps: int) -> LRScheduler:
    group = optimizer.param_groups[0]
    has_momentum = "betas" in group or group.get("momentum", 0) > 0
    # torch wants one step more than a training of very few steps has, and fails where the climb would
    # end on the first of them.
    total = max(steps, 2) + 1
    total += spec.warmup * total == 1
    return OneCycleLR(
        optimizer, max_lr=group["lr"], total_steps=total, pct_start=spec.warmup, cycle_momentum=has_momentum
    )


def cosine_share(spec: recipe.Cosine, steps: int) -> Callable[[int], float]:
    """The share of the highest learning rate at each step of `steps`."""
    warmup = round(spec.warmup * steps)

    def share(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        progress = min(1.0, (step - warmup) / max(1, steps - warmup))
        return spec.final + (1 - spec.final) * (1 + math.cos(math.pi * progress)) / 2

    return share
