"""Accuracy."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from softvote.metrics import scores
from softvote.metrics.base import Labels, Metric, PredictedArray, register_metric
from softvote.metrics.evaluation import Evaluation, Proportion
from softvote.task import LabelSpace


@register_metric(rank=0)
class Accuracy(Metric):
    name: Literal["accuracy"] = "accuracy"
    """`accuracy`: the proportion of images whose label is right; of tags or targets, all of them."""

    percent: ClassVar[bool] = True
    argmax_is_best: ClassVar[bool] = True

    def rows(
        self, predictions: PredictedArray, labels: Labels, space: LabelSpace
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """1 where a row is right."""
        right = predictions == labels
        right = right if right.ndim == 1 else right.all(axis=1)
        return right.astype(np.float64), np.ones(len(right))

    def evaluate(
        self,
        predictions: PredictedArray,
        labels: Labels,
        space: LabelSpace,
        groups: NDArray[np.integer] | None = None,
    ) -> Evaluation:
        """As `Metric.evaluate`; without groups the standard error is that of a proportion."""
        if groups is not None:
            return super().evaluate(predictions, labels, space, groups)
        right, _ = self.rows(predictions, labels, space)
        return Proportion(scores.proportion(right > 0), right)
