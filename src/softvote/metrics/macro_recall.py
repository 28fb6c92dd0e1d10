"""Macro recall, of one target or several."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from softvote.config.schema import Positive
from softvote.metrics.base import Labels, PredictedArray, check_names, register_metric, weights_of
from softvote.metrics.counts import CountMetric, hits, mean_where, split_hits
from softvote.task import LabelSpace, TaskKind


@register_metric(rank=12)
class MacroRecall(CountMetric):
    name: Literal["macro_recall"] = "macro_recall"
    """`macro_recall`: the mean over classes of the proportion of their images that are right; of several
    targets the weighted mean of theirs."""
    weights: dict[str, Positive] | None = None
    """Weight of each target by its name; 1 of those that are left out."""

    kinds: ClassVar[tuple[TaskKind, ...]] = ("classes", "ordered", "targets")

    def check(self, space: LabelSpace) -> None:
        """Refuse weights of targets that there are not."""
        check_names("weights", self.weights, space.target_names, "target")

    def value(
        self,
        predictions: PredictedArray,
        labels: Labels,
        space: LabelSpace,
        weights: NDArray[np.floating] | None = None,
    ) -> float:
        """As `Metric.value`, by scikit-learn."""
        from sklearn.metrics import recall_score

        counted = slice(None) if weights is None else weights > 0
        often = None if weights is None else weights[counted]
        named, true = _columns(predictions)[counted], _columns(labels)[counted]
        recalls = [
            recall_score(
                true[:, target], named[:, target], average="macro", sample_weight=often, zero_division=0
            )
            for target in range(true.shape[1])
        ]
        return float(np.average(recalls, weights=self._weights(space)))

    def counts(self, predictions: PredictedArray, labels: Labels, space: LabelSpace) -> Any:
        """How often each class of each target is right, named, and true."""
        from scipy.sparse import hstack

        named, true = _columns(predictions), _columns(labels)
        sizes = [block.stop - block.start for block in space.task.blocks]
        return hstack([hits(named[:, t], true[:, t], size) for t, size in enumerate(sizes)], format="csr")

    def of_counts(self, sums: NDArray[np.float64], space: LabelSpace) -> NDArray[np.float64]:
        """The mean of what is right of each class that is there, or was named."""
        recalls = []
        for block in space.task.blocks:
            right, named, true = split_hits(sums[:, 3 * block.start : 3 * block.stop])
            recalls.append(mean_where(right / true, (named + true) > 0))
        value: NDArray[np.float64] = np.average(recalls, axis=0, weights=self._weights(space))
        return value

    def _weights(self, space: LabelSpace) -> NDArray[np.float64]:
        return weights_of(self.weights, space.target_names or ("",))


def _columns(labels: Labels) -> Labels:
    """(N,) or (N, T) as (N, T)."""
    return labels[:, None] if labels.ndim == 1 else labels
