"""Average precision."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from softvote.metrics.base import register_metric
from softvote.metrics.ranking import Cuts, RankingMetric
from softvote.task import TaskKind


@register_metric(rank=5)
class AveragePrecision(RankingMetric):
    name: Literal["average_precision"] = "average_precision"
    """`average_precision`: the mean precision over all recalls: of the second of two classes, else the mean
    over classes or tags."""

    needs: ClassVar[Literal["ranking"]] = "ranking"
    kinds: ClassVar[tuple[TaskKind, ...]] = ("classes", "ordered", "tags")

    def of_column(
        self, scores: NDArray[np.floating], truth: NDArray[np.bool_], weights: NDArray[np.floating] | None
    ) -> float:
        """As `RankingMetric.of_column`."""
        from sklearn.metrics import average_precision_score

        return float(average_precision_score(truth, scores, sample_weight=weights))

    def of_cuts(self, cuts: Cuts) -> NDArray[np.floating]:
        """Each rise of recall at the precision behind it."""
        above = cuts.true[:, 1:] + cuts.false[:, 1:]
        precision = np.where(above > 0, cuts.true[:, 1:] / np.where(above > 0, above, 1), 0)
        values: NDArray[Any] = (np.diff(cuts.true, axis=1) * precision).sum(axis=1) / cuts.true[:, -1]
        return values
