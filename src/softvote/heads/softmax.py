"""The softmax head: a value a class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from softvote.heads.base import HeadSpec, NeedsNoCalibration, register_head

if TYPE_CHECKING:
    from torch import Tensor


@register_head("softmax", rank=0, takes_label_smoothing=True)
class SoftmaxHead(NeedsNoCalibration):
    """K classes, cross-entropy.

    Args:
        num_values: K.
        label_smoothing: share of the probability spread evenly over all classes (Szegedy et al. 2016).
    """

    def __init__(self, num_values: int, label_smoothing: float = 0.0) -> None:
        self.num_outputs = num_values
        self.label_smoothing = label_smoothing

    @classmethod
    def from_spec(cls, spec: HeadSpec) -> Self:
        """Build the head of a specification."""
        return cls(spec.num_values, spec.label_smoothing)

    def loss(self, outputs: Tensor, values: Tensor, digits: Tensor | None = None) -> Tensor:
        """float (B, K) and int64 (B,) -> float scalar, in nats."""
        from torch.nn import functional

        return functional.cross_entropy(outputs.float(), values, label_smoothing=self.label_smoothing)

    def probabilities(self, outputs: Tensor) -> Tensor:
        """float (B, K) -> float32 (B, K)."""
        from torch.nn import functional

        return functional.softmax(outputs.float(), dim=1)
