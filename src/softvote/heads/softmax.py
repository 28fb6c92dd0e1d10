"""The softmax head: one value per class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softvote.heads.base import Reduction, register_head
from softvote.heads.objective import ObjectiveHead
from softvote.heads.soft_targets import soft_cross_entropy

if TYPE_CHECKING:
    from torch import Tensor


@register_head(
    "softmax", rank=0, kinds=("classes", "ordered"), default_of="classes", takes_loss=True,
    takes_label_smoothing=True, takes_teacher=True,
)  # fmt: skip
class SoftmaxHead(ObjectiveHead):
    """K classes, cross-entropy or another loss.

    Args:
        num_values: K.
        objective: what is made small in training.
    """

    def loss(
        self, outputs: Tensor, values: Tensor, digits: Tensor | None = None, reduction: Reduction = "mean"
    ) -> Tensor:
        """float (B, K) and int64 (B,) -> float scalar, of cross-entropy in nats."""
        return self.objective.of_classes(outputs, values, reduction=reduction)

    def soft_loss(self, outputs: Tensor, wanted: Tensor, temperature: float) -> Tensor:
        """float (B, K) and (B, K) -> float32 (B,), in nats."""
        return soft_cross_entropy(outputs.float(), wanted, temperature)

    def probabilities(self, outputs: Tensor) -> Tensor:
        """float (B, K) -> float32 (B, K)."""
        from torch.nn import functional

        return functional.softmax(outputs.float(), dim=1)
