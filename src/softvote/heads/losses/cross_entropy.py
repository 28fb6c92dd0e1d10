"""Cross-entropy: the negative log-likelihood."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from softvote.config.entries import LossConfig
from softvote.heads.losses.base import register_loss

if TYPE_CHECKING:
    from torch import Tensor


@register_loss(rank=0)
class CrossEntropy(LossConfig):
    name: Literal["cross_entropy"]
    """`cross_entropy`: the negative log-likelihood of what is right; of tags binary cross-entropy."""

    def of_classes(self, logits: Tensor, wanted: Tensor) -> Tensor:
        """In nats."""
        from torch.nn import functional

        return functional.cross_entropy(logits, wanted, reduction="none")

    def of_tags(self, logits: Tensor, wanted: Tensor) -> Tensor:
        """In nats."""
        from torch.nn import functional

        return functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
