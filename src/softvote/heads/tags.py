"""The tags head: one sigmoid per tag."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softvote.heads.base import Reduction, register_head
from softvote.heads.objective import ObjectiveHead
from softvote.heads.soft_targets import soft_binary_cross_entropy

if TYPE_CHECKING:
    from torch import Tensor


@register_head(
    "tags",
    rank=5,
    kinds=("tags",),
    default_of="tags",
    takes_loss=True,
    takes_label_smoothing=True,
    takes_teacher=True,
)
class TagsHead(ObjectiveHead):
    """K tags, of which any may be there, binary cross-entropy or another loss.

    Args:
        num_values: K.
        objective: what is made small in training.
    """

    def loss(
        self, outputs: Tensor, values: Tensor, digits: Tensor | None = None, reduction: Reduction = "mean"
    ) -> Tensor:
        """float (B, K) and int64 (B, K) of 0 and 1 -> float scalar, the mean of a row's K losses."""
        return self.objective.of_tags(outputs, values, reduction)

    def soft_loss(self, outputs: Tensor, wanted: Tensor, temperature: float) -> Tensor:
        """float (B, K) and (B, K) -> float32 (B,), the mean of a row's K losses in nats."""
        return soft_binary_cross_entropy(outputs.float(), wanted, temperature)

    def probabilities(self, outputs: Tensor) -> Tensor:
        """float (B, K) -> float32 (B, K), each 0..1 by itself."""
        return outputs.float().sigmoid()
