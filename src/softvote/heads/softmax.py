"""The softmax head: a value a class."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from softvote.heads.base import NeedsNoCalibration


class SoftmaxHead(NeedsNoCalibration):
    """K classes, cross-entropy.

    Args:
        num_values: K.
        label_smoothing: share of the probability spread evenly over all classes (Szegedy et al. 2016).
    """

    def __init__(self, num_values: int, label_smoothing: float = 0.0) -> None:
        self.num_outputs = num_values
        self.label_smoothing = label_smoothing

    def loss(self, outputs: Tensor, values: Tensor, digits: Tensor | None = None) -> Tensor:
        """float (B, K) and int64 (B,) -> float scalar, in nats."""
        return functional.cross_entropy(outputs.float(), values, label_smoothing=self.label_smoothing)

    def probabilities(self, outputs: Tensor) -> Tensor:
        """float (B, K) -> float32 (B, K)."""
        return functional.softmax(outputs.float(), dim=1)
