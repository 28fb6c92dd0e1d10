"""Log loss."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from softvote.config.entries import Predicted
from softvote.config.schema import Positive
from softvote.metrics.base import Labels, Metric, PredictedArray, check_names, register_metric, weights_of
from softvote.metrics.scores import FLOOR, losses
from softvote.task import LabelSpace


@register_metric(rank=2)
class LogLoss(Metric):
    name: Literal["log_loss"] = "log_loss"
    """`log_loss`: the mean negative log probability of what is true, in nats; of tags and targets the mean
    over these too."""
    weights: dict[str, Positive] | None = None
    """Weight of each class, tag or target by its name; 1 of those that are left out. Rows are weighted by
    their class; of tags and targets the mean is weighted."""

    needs: ClassVar[Predicted] = "probabilities"
    greater_is_better: ClassVar[bool] = False
    highest: ClassVar[float] = float("inf")
    clip: ClassVar[float] = FLOOR

    @property
    def title(self) -> str:
        return "weighted log loss" if self.weights else "log loss"

    def check(self, space: LabelSpace) -> None:
        """Refuse weights of what there is not."""
        known = space.names if space.task.is_single_label else space.target_names
        check_names("weights", self.weights, known, "label")

    def rows(
        self, predictions: PredictedArray, labels: Labels, space: LabelSpace
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Each row's loss; a row of one class weighs what its class does."""
        if space.task.is_single_label:
            return losses(predictions, labels), weights_of(self.weights, space.names)[labels]
        if space.task.kind == "tags":
            of_truth = np.where(labels > 0, predictions, 1 - predictions).astype(np.float64)
            each = -np.log(np.clip(of_truth, FLOOR, 1.0))
        else:
            blocks = enumerate(space.task.blocks)
            each = np.stack([losses(predictions[:, block], labels[:, t]) for t, block in blocks], axis=1)
        weights = weights_of(self.weights, space.target_names)
        return each @ weights / weights.sum(), np.ones(len(labels))
