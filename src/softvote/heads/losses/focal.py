"""Focal loss: what is right already counts less."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from softvote.config.entries import LossConfig
from softvote.config.schema import NonNegative
from softvote.heads.losses.base import register_loss

if TYPE_CHECKING:
    from torch import Tensor


@register_loss(rank=1)
class Focal(LossConfig):
    """Cross-entropy times (1 - p) ** gamma, p the probability of what is right (Lin et al. 2017)."""

    name: Literal["focal"]
    """`focal`: cross-entropy that counts less the surer the network is of what is right (Lin et al. 2017)."""
    gamma: NonNegative = 2.0
    """Exponent of the factor 1 - p, p being the probability of what is right; no unit; 0 is cross-entropy."""

    def of_classes(self, logits: Tensor, wanted: Tensor) -> Tensor:
        """The factor is that of each class that is wanted."""
        logs = logits.log_softmax(1)
        return -(wanted * (1 - logs.exp()) ** self.gamma * logs).sum(1)

    def of_tags(self, logits: Tensor, wanted: Tensor) -> Tensor:
        """The factor is that of the tag's being there, and of its not being there."""
        from torchvision.ops import sigmoid_focal_loss  # type: ignore[import-untyped]

        loss: Tensor = sigmoid_focal_loss(logits, wanted, alpha=-1, gamma=self.gamma)
        return loss
