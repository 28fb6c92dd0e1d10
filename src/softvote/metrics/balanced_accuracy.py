"""Balanced accuracy."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from softvote.metrics.base import Labels, PredictedArray, register_metric
from softvote.metrics.counts import CountMetric, hits, mean_where, split_hits
from softvote.task import LabelSpace, TaskKind


@register_metric(rank=1)
class BalancedAccuracy(CountMetric):
    name: Literal["balanced_accuracy"] = "balanced_accuracy"
    """`balanced_accuracy`: the mean over classes of the proportion of their images that are right."""

    kinds: ClassVar[tuple[TaskKind, ...]] = ("classes", "ordered")
    percent: ClassVar[bool] = True

    def value(
        self,
        predictions: PredictedArray,
        labels: Labels,
        space: LabelSpace,
        weights: NDArray[np.floating] | None = None,
    ) -> float:
        """As `Metric.value`, by scikit-learn."""
        from sklearn.metrics import recall_score

        there = np.unique(labels if weights is None else labels[weights > 0])
        return float(
            recall_score(
                labels, predictions, labels=there, average="macro", sample_weight=weights, zero_division=0
            )
        )

    def counts(self, predictions: PredictedArray, labels: Labels, space: LabelSpace) -> Any:
        """How often each class is right, named, and true."""
        return hits(predictions, labels, len(space.names))

    def of_counts(self, sums: NDArray[np.float64], space: LabelSpace) -> NDArray[np.float64]:
        """The mean of what is right of each class that is there."""
        right, _, true = split_hits(sums)
        return mean_where(right / true, true > 0)
