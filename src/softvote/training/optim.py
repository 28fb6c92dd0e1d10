"""Optimisers and learning-rate schedules, from their specifications to torch's own."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.optim import Optimizer

from softvote.config.registry import OptimizerConfig, ScheduleConfig


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

    def __init__(self, spec: ScheduleConfig, optimizer: Optimizer, steps: int) -> None:
        self.optimizer = optimizer
        self._moves_per = spec.moves_per
        self._scheduler: Any = spec.create(optimizer, steps)  # those of epochs alone take a loss

    @property
    def now(self) -> float:
        """The learning rate of the next step."""
        return float(self.optimizer.param_groups[0]["lr"])

    @property
    def moves_momentum(self) -> bool:
        """Whether momentum, or the first beta, moves with the rate."""
        return bool(getattr(self._scheduler, "cycle_momentum", False))

    def state(self) -> dict[str, Any]:
        """What `restore` needs to go on from here; the optimizer's own state is not in it."""
        return dict(self._scheduler.state_dict()) if self._scheduler else {}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        if self._scheduler:
            self._scheduler.load_state_dict(state)

    def end_step(self) -> None:
        """Call after every optimiser step."""
        if self._scheduler and self._moves_per == "step":
            self._scheduler.step()

    def end_epoch(self, watched_loss: float) -> None:
        """Call after every epoch with the loss that is watched."""
        if self._scheduler and self._moves_per == "epoch":
            self._scheduler.step(watched_loss)
