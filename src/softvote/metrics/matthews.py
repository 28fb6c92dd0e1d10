"""Matthews correlation coefficient."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from softvote.metrics.base import Labels, PredictedArray, register_metric
from softvote.metrics.counts import CountMetric, hits, split_hits
from softvote.task import LabelSpace, TaskKind


@register_metric(rank=9)
class Matthews(CountMetric):
    name: Literal["matthews"] = "matthews"
    """`matthews`: the correlation of labels with what is true, of two classes or more (Gorodkin 2004); 0 for
    chance."""

    kinds: ClassVar[tuple[TaskKind, ...]] = ("classes", "ordered")
    lowest: ClassVar[float] = -1.0

    def value(
        self,
        predictions: PredictedArray,
        labels: Labels,
        space: LabelSpace,
        weights: NDArray[np.floating] | None = None,
    ) -> float:
        """As `Metric.value`, by scikit-learn."""
        from sklearn.metrics import matthews_corrcoef

        return float(matthews_corrcoef(labels, predictions, sample_weight=weights))

    def counts(self, predictions: PredictedArray, labels: Labels, space: LabelSpace) -> Any:
        """How often each class is right, named, and true."""
        return hits(predictions, labels, len(space.names))

    def of_counts(self, sums: NDArray[np.float64], space: LabelSpace) -> NDArray[np.float64]:
        """The covariance over both deviations; 0 where one of them is."""
        right, named, true = split_hits(sums)
        rows = true.sum(axis=1)
        covariance = right.sum(axis=1) * rows - (named * true).sum(axis=1)
        deviations = np.sqrt((rows**2 - (named**2).sum(axis=1)) * (rows**2 - (true**2).sum(axis=1)))
        return np.where(deviations > 0, covariance / np.where(deviations > 0, deviations, 1), 0.0)
