"""Quadratic weighted kappa."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from softvote.metrics.base import Labels, PredictedArray, register_metric
from softvote.metrics.counts import CountMetric
from softvote.task import LabelSpace, TaskKind


@register_metric(rank=8)
class QuadraticWeightedKappa(CountMetric):
    name: Literal["quadratic_weighted_kappa"] = "quadratic_weighted_kappa"
    """`quadratic_weighted_kappa`: agreement beyond chance in ordered classes, where a miss costs the square
    of its distance (Cohen 1968); 0 for chance."""

    kinds: ClassVar[tuple[TaskKind, ...]] = ("classes", "ordered")
    lowest: ClassVar[float] = -1.0

    def value(
        self,
        predictions: PredictedArray,
        labels: Labels,
        space: LabelSpace,
        weights: NDArray[np.floating] | None = None,
    ) -> float:
        """As `Metric.value`, by scikit-learn; 0 where labels and predictions are all the same one."""
        from sklearn.metrics import cohen_kappa_score

        with np.errstate(invalid="ignore"):
            value = cohen_kappa_score(
                labels,
                predictions,
                labels=range(len(space.names)),
                weights="quadratic",
                sample_weight=weights,
            )
        return float(np.nan_to_num(value))

    def counts(self, predictions: PredictedArray, labels: Labels, space: LabelSpace) -> Any:
        """Moments: what is expected by chance needs no more of the distances' squares."""
        true, named = labels.astype(np.float64), predictions.astype(np.float64)
        return np.stack([np.ones(len(true)), true, named, true**2, named**2, (true - named) ** 2], axis=1)

    def of_counts(self, sums: NDArray[np.float64], space: LabelSpace) -> NDArray[np.float64]:
        """One less the disagreement over what independent labels would have."""
        rows, true, named, true_squares, named_squares, apart = sums.T
        by_chance = true_squares + named_squares - 2 * true * named / rows
        return np.where(by_chance > 0, 1 - apart / np.where(by_chance > 0, by_chance, 1), 0.0)
