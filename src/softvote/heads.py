"""Heads: what a network's raw output means, how it is trained, and how it becomes probabilities.

Adding a head is adding one class to `HEADS`.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor
from torch.nn import functional


class Head(Protocol):
    """From raw outputs to a loss, and to probabilities over the label range."""

    num_outputs: int

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """float (B, num_outputs) and int64 class indices (B,) -> float scalar, the mean a row."""
        ...

    def probabilities(self, outputs: Tensor) -> Tensor:
        """float (B, num_outputs) -> float32 (B, K), rows that sum to 1."""
        ...


class Softmax:
    """K classes, cross-entropy.

    Args:
        num_classes: K.
        label_smoothing: share of the probability spread evenly over all classes (Szegedy et al. 2016).
    """

    def __init__(self, num_classes: int, label_smoothing: float = 0.0) -> None:
        self.num_outputs = num_classes
        self.label_smoothing = label_smoothing

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """float (B, K) and int64 (B,) -> float scalar, in nats."""
        return functional.cross_entropy(outputs.float(), labels, label_smoothing=self.label_smoothing)

    def probabilities(self, outputs: Tensor) -> Tensor:
        """float (B, K) -> float32 (B, K)."""
        return functional.softmax(outputs.float(), dim=1)


HEADS: dict[str, type[Softmax]] = {"softmax": Softmax}


def create_head(name: str, num_classes: int, label_smoothing: float = 0.0) -> Head:
    """The head of that name for K = `num_classes`."""
    return HEADS[name](num_classes, label_smoothing)
