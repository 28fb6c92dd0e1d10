"""The softmax head: one value per class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softvote.heads.base import register_head
from softvote.heads.objective import ObjectiveHead

if TYPE_CHECKING:
    from torch import Tensor


@register_head(
    "softmax", rank=0, kinds=("classes", "ordered"), default_of="classes", takes_loss=True,
    takes_label_smoothing=True,
)  # fmt: skip
class SoftmaxHead(ObjectiveHead):
    """K classes, cross-entropy or another loss.

    Args:
        num_values: K.
        objective: what is made small in training.
    """

    def loss(self, outputs: Tensor, values: Tensor, digits: Tensor | None = None) -> Tensor:
        """float (B, K) and int64 (B,) -> float scalar, of cross-entropy in nats."""
        return self.objective.of_classes(outputs, values)

    def probabilities(self, outputs: Tensor) -> Tensor:
        """float (B, K) -> float32 (B, K)."""
        from torch.nn import functional

        return functional.softmax(outputs.float(), dim=1)
