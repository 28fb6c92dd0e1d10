"""What a head of classes or tags is trained to make small: a loss, smoothed labels and weights of classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from softvote.heads.base import HeadSpec, NeedsNoCalibration, Reduction
from softvote.heads.losses.cross_entropy import CrossEntropy

if TYPE_CHECKING:
    from torch import Tensor


class Objective:
    """A loss with the weights of classes and the label smoothing of a specification."""

    def __init__(self, spec: HeadSpec) -> None:
        self.loss, self.label_smoothing = spec.loss, spec.label_smoothing
        self._class_weights = spec.class_weights
        self._weights: Tensor | None = None

    def of_classes(
        self,
        logits: Tensor,
        labels: Tensor,
        columns: slice = slice(None),
        reduction: Reduction = "mean",
    ) -> Tensor:
        """Compare with the classes that are right.

        Args:
            logits: float (B, K), whose softmax is the probabilities.
            labels: int64 (B,), 0..K-1.
            columns: of all columns those of these classes.
            reduction: as torch's losses have it.

        Returns:
            float32 scalar, the mean over the rows, each times the weight of its class; or float32 (B,).
        """
        from torch.nn import functional

        logits = logits.float()
        # One operation of torch's, whose bits older trainings have.
        if self._class_weights is None and isinstance(self.loss, CrossEntropy):
            smoothing = self.label_smoothing
            return functional.cross_entropy(logits, labels, label_smoothing=smoothing, reduction=reduction)
        wanted = functional.one_hot(labels, logits.shape[1]).float()
        wanted = wanted * (1 - self.label_smoothing) + self.label_smoothing / logits.shape[1]
        each = self.loss.of_classes(logits, wanted)
        if self._class_weights is not None:
            each = each * self._weights_on(logits)[-1, columns][labels]
        return each.mean() if reduction == "mean" else each

    def of_tags(self, logits: Tensor, labels: Tensor, reduction: Reduction = "mean") -> Tensor:
        """Compare with the tags that are there.

        Args:
            logits: float (B, K), whose sigmoid is the probabilities.
            labels: int64 (B, K) of 0 and 1.
            reduction: as torch's losses have it.

        Returns:
            float32 scalar, the mean over rows and tags, each times its weight where it is absent or present;
            or float32 (B,), over tags alone.
        """
        logits, present = logits.float(), labels.float()
        wanted = present * (1 - self.label_smoothing) + self.label_smoothing / 2
        each = self.loss.of_tags(logits, wanted)
        if self._class_weights is not None:
            absent_weight, present_weight = self._weights_on(logits).unbind(0)
            each = each * (present * present_weight + (1 - present) * absent_weight)
        return each.mean() if reduction == "mean" else each.mean(1)

    def _weights_on(self, like: Tensor) -> Tensor:
        """The weights where the logits are; they stay there, because each copy waits for the device."""
        import torch

        if self._weights is None or self._weights.device != like.device:
            self._weights = torch.from_numpy(self._class_weights).to(like.device)
        return self._weights


class ObjectiveHead(NeedsNoCalibration):
    """A head that a recipe's loss trains, with an output for each of K values.

    Args:
        num_values: K.
        objective: what is made small in training.
    """

    def __init__(self, num_values: int, objective: Objective) -> None:
        self.num_outputs = num_values
        self.objective = objective

    @classmethod
    def from_spec(cls, spec: HeadSpec) -> Self:
        """Build the head of a specification."""
        return cls(spec.num_values, Objective(spec))
