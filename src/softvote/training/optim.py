"""Optimisers and learning-rate schedules, from their specifications to torch's own."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator
from typing import Any

from timm.optim._param_groups import param_groups_layer_decay
from torch import nn
from torch.optim import Optimizer

from softvote.config.entries import OptimizerConfig, ScheduleConfig


def create_optimizer(
    spec: OptimizerConfig,
    model: nn.Module,
    device: str,
    layer_decay: float = 1.0,
    decay_norms: bool = True,
) -> Optimizer:
    """Build the optimiser over all parameters of the network, fused where the device has it.

    Args:
        layer_decay: factor of the learning rate from each layer to the one before it.
        decay_norms: whether weight decay is of biases and normalisation layers too.
    """
    return spec.create(_parameters(spec, model, layer_decay, decay_norms), fused=device in ("cpu", "cuda"))


def _parameters(
    spec: OptimizerConfig, model: nn.Module, layer_decay: float, decay_norms: bool
) -> Iterable[nn.Parameter] | Iterable[dict[str, Any]]:
    """All parameters, or timm's groups of those that learn, with their learning rates and weight decay."""
    if layer_decay == 1 and decay_norms:
        return model.parameters()
    spared = set() if decay_norms else set(getattr(model, "no_weight_decay", set)())
    with _unwarned(is_asked=layer_decay < 1):
        groups = param_groups_layer_decay(
            model,
            getattr(spec, "weight_decay", 0.0),
            no_weight_decay_list=spared,
            weight_decay_exclude_1d=not decay_norms,
            layer_decay=layer_decay,
        )
    return [
        {"params": group["params"], "weight_decay": group["weight_decay"], "lr": spec.lr * group["lr_scale"]}
        for group in groups
    ]


@contextlib.contextmanager
def _unwarned(is_asked: bool) -> Iterator[None]:
    """Keep timm from warning of a decay by layers that has no effect, where nobody asked for one."""
    logger = logging.getLogger(param_groups_layer_decay.__module__)
    before = logger.disabled
    logger.disabled = before or not is_asked
    try:
        yield
    finally:
        logger.disabled = before


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
        """The learning rate of the next step; of several the highest, which the recipe names."""
        return float(max(group["lr"] for group in self.optimizer.param_groups))

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
