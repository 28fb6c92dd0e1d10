"""AdamW: Adam with decoupled weight decay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from softvote.config.schema import NonNegative
from softvote.training.optimizers.adam import AdamParameters
from softvote.training.optimizers.base import register_optimizer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch.nn import Parameter
    from torch.optim import Optimizer


@register_optimizer(rank=2)
class AdamW(AdamParameters):
    name: Literal["adamw"]
    """`adamw`: torch.optim.AdamW (Loshchilov and Hutter 2019)."""
    weight_decay: NonNegative = 0.01
    """Decoupled weight decay: each step shrinks a weight by the proportion lr times this."""

    def create(self, parameters: Iterable[Parameter] | Iterable[dict[str, Any]], fused: bool) -> Optimizer:
        """Build torch's optimiser."""
        from torch import optim

        return optim.AdamW(parameters, self.lr, betas=self.betas, weight_decay=self.weight_decay, fused=fused)
