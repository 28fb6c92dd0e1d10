"""The area under the ROC curve."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from softvote.metrics.base import register_metric
from softvote.metrics.ranking import Cuts, RankingMetric
from softvote.task import LabelSpace, TaskKind


@register_metric(rank=3)
class RocAuc(RankingMetric):
    name: Literal["roc_auc"] = "roc_auc"
    """`roc_auc`: the area under the ROC curve, 0.5 for chance: of the second of two classes, else the mean
    over all classes (one against the rest) or tags."""

    needs: ClassVar[Literal["ranking"]] = "ranking"
    kinds: ClassVar[tuple[TaskKind, ...]] = ("classes", "ordered", "tags")

    @property
    def title(self) -> str:
        return "ROC AUC"

    def of_column(
        self, scores: NDArray[np.floating], truth: NDArray[np.bool_], weights: NDArray[np.floating] | None
    ) -> float:
        """As `RankingMetric.of_column`."""
        from sklearn.metrics import roc_auc_score

        return float(roc_auc_score(truth, scores, sample_weight=weights))

    def of_cuts(self, cuts: Cuts) -> NDArray[np.floating]:
        """By the rule of the trapezoid."""
        area = (np.diff(cuts.false, axis=1) * (cuts.true[:, 1:] + cuts.true[:, :-1]) / 2).sum(axis=1)
        values: NDArray[Any] = area / (cuts.true[:, -1] * cuts.false[:, -1])
        return values


@register_metric(rank=4)
class PartialRocAuc(RankingMetric):
    name: Literal["partial_roc_auc"] = "partial_roc_auc"
    """`partial_roc_auc`: the area between the ROC curve of the second of two classes and a true positive
    rate."""
    above_tpr: float = 0.8
    """True positive rate above which the area is taken, a proportion of the positives; 1 less it is the best
    value."""

    needs: ClassVar[Literal["ranking"]] = "ranking"
    kinds: ClassVar[tuple[TaskKind, ...]] = ("classes", "ordered")

    @property
    def title(self) -> str:
        return f"partial AUC above {self.above_tpr:g}"

    def check(self, space: LabelSpace) -> None:
        """Refuse other than two classes, and a rate that is none."""
        from softvote.config.schema import ConfigError

        if not 0 <= self.above_tpr < 1:
            raise ConfigError.at("above_tpr", f"{self.above_tpr:g} is not a rate", "write 0.8, say")
        if len(space.names) != 2:
            raise ConfigError.at(
                "", f"is for two classes, but this competition has {len(space.names)}", "use roc_auc"
            )

    def of_column(
        self, scores: NDArray[np.floating], truth: NDArray[np.bool_], weights: NDArray[np.floating] | None
    ) -> float:
        """As `RankingMetric.of_column`: the curve turned over, so that scikit-learn's part is the upper."""
        from sklearn.metrics import roc_auc_score

        most = 1 - self.above_tpr
        scaled = roc_auc_score(~truth, -scores, max_fpr=most, sample_weight=weights)
        least = most**2 / 2  # by chance; McClish (1989) scales from there to 0.5
        return float(least + (scaled - 0.5) * 2 * (most - least))

    def of_cuts(self, cuts: Cuts) -> NDArray[np.floating]:
        """By the rule of the trapezoid, of what is above the rate."""
        true, false = cuts.true / cuts.true[:, -1:], cuts.false / cuts.false[:, -1:]
        low, high = np.maximum(true[:, :-1], self.above_tpr), np.maximum(true[:, 1:], self.above_tpr)
        step, rise = np.diff(false, axis=1), np.diff(true, axis=1)
        # Where the curve crosses the rate within a step, only what comes after the crossing counts.
        share = np.where(rise > 0, (high - low) / np.where(rise > 0, rise, 1), true[:, 1:] > self.above_tpr)
        values: NDArray[Any] = (step * share * ((low + high) / 2 - self.above_tpr)).sum(axis=1)
        return values
