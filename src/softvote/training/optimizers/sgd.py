"""Stochastic gradient descent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import model_validator

from softvote.config.entries import OptimizerConfig
from softvote.config.schema import BelowOne, ConfigError, NonNegative, Positive
from softvote.training.optimizers.base import register_optimizer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch.nn import Parameter
    from torch.optim import Optimizer


@register_optimizer(rank=0)
class Sgd(OptimizerConfig):
    name: Literal["sgd"]
    """`sgd`: stochastic gradient descent, torch.optim.SGD."""
    lr: Positive = 0.1
    """Highest learning rate, per optimiser step; the schedule scales it."""
    momentum: BelowOne = 0.9
    """Proportion of the last step's velocity that is kept; 0 for none."""
    nesterov: bool = True
    """Nesterov's momentum, which looks one step ahead; needs momentum above 0."""
    weight_decay: NonNegative = 0.0
    """L2 penalty: this times each weight is added to its gradient; no unit."""

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> Sgd:
        if self.nesterov and self.momentum == 0:
            raise ConfigError.at("", "nesterov needs momentum above 0", "set nesterov: false")
        return self

    def create(self, parameters: Iterable[Parameter] | Iterable[dict[str, Any]], fused: bool) -> Optimizer:
        """Build torch's optimiser."""
        from torch import optim

        return optim.SGD(
            parameters, self.lr, momentum=self.momentum, nesterov=self.nesterov,
            weight_decay=self.weight_decay, fused=fused,
        )  # fmt: skip
