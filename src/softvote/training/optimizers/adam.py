"""Adam."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from softvote.config.entries import OptimizerConfig
from softvote.config.schema import BelowOne, NonNegative, Positive
from softvote.training.optimizers.base import register_optimizer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch.nn import Parameter
    from torch.optim import Optimizer


class AdamParameters(OptimizerConfig):
    """What Adam and its relatives have in common."""

    lr: Positive = 1e-3
    """Highest learning rate, per optimiser step; the schedule scales it."""
    betas: tuple[BelowOne, BelowOne] = (0.9, 0.999)
    """Decay rates per step of the running means of the gradient and of its square, each in [0, 1)."""


@register_optimizer(rank=1)
class Adam(AdamParameters):
    name: Literal["adam"]
    """`adam`: torch.optim.Adam (Kingma and Ba 2015)."""
    weight_decay: NonNegative = 0.0
    """L2 penalty: this times each weight is added to its gradient; no unit."""

    def create(self, parameters: Iterable[Parameter] | Iterable[dict[str, Any]], fused: bool) -> Optimizer:
        """Build torch's optimiser."""
        from torch import optim

        return optim.Adam(parameters, self.lr, betas=self.betas, weight_decay=self.weight_decay, fused=fused)
