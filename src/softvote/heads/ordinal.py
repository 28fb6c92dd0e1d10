"""The ordinal head: one question after the other, whether it is more than this class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softvote.heads.base import Reduction, register_head
from softvote.heads.objective import Objective, ObjectiveHead
from softvote.heads.soft_targets import soft_cross_entropy

if TYPE_CHECKING:
    from torch import Tensor


@register_head(
    "ordinal", rank=4, kinds=("ordered",), default_of="ordered", takes_loss=True, takes_teacher=True
)
class OrdinalHead(ObjectiveHead):
    """K ordered classes as K - 1 conditional questions: is it more than k, given that it is no less?

    The chain rule makes the answers a distribution whose ranks are consistent, and training makes its
    negative log-likelihood small: CORN (Shi, Cao and Raschka 2023, "Deep neural networks for rank-consistent
    ordinal regression based on conditional probabilities"). Its loss is the same but for the divisor, which
    there is the number of questions asked in a batch, here that of rows.

    Args:
        num_values: K.
        objective: what is made small in training.
    """

    def __init__(self, num_values: int, objective: Objective) -> None:
        super().__init__(num_values, objective)
        self.num_outputs = num_values - 1

    def log_probabilities(self, outputs: Tensor) -> Tensor:
        """float (B, K - 1) -> float32 (B, K)."""
        from torch.nn import functional

        outputs = outputs.float()
        more, no_more = functional.logsigmoid(outputs), functional.logsigmoid(-outputs)
        return functional.pad(more.cumsum(1), (1, 0)) + functional.pad(no_more, (0, 1))

    def loss(
        self, outputs: Tensor, values: Tensor, digits: Tensor | None = None, reduction: Reduction = "mean"
    ) -> Tensor:
        """float (B, K - 1) and int64 (B,) -> float scalar, of cross-entropy in nats."""
        return self.objective.of_classes(self.log_probabilities(outputs), values, reduction=reduction)

    def soft_loss(self, outputs: Tensor, wanted: Tensor, temperature: float) -> Tensor:
        """float (B, K - 1) and (B, K) -> float32 (B,), in nats."""
        return soft_cross_entropy(self.log_probabilities(outputs), wanted, temperature)

    def probabilities(self, outputs: Tensor) -> Tensor:
        """float (B, K - 1) -> float32 (B, K)."""
        from torch.nn import functional

        return functional.softmax(self.log_probabilities(outputs), dim=1)
