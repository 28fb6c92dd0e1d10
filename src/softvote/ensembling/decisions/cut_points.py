"""Cut points of the expected label, for ordered classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from softvote.config.entries import MetricConfig
from softvote.ensembling.decisions.argmax import Argmax
from softvote.ensembling.decisions.base import Decision, climb, one_by_one, quick_worth, register_decision
from softvote.ensembling.vote import Probabilities
from softvote.metrics import Labels, Metric, PredictedArray
from softvote.task import LabelSpace, TaskKind

_STEPS = 21


@register_decision(rank=1)
class CutPoints(Decision):
    name: Literal["cut_points"] = "cut_points"
    """`cut_points`: the expected place of an ordered label, cut into labels at points that are fitted so that
    the metric is best."""

    kinds: ClassVar[tuple[TaskKind, ...]] = ("ordered",)
    needs_fit: ClassVar[bool] = True

    @classmethod
    def suits(cls, metric: MetricConfig, space: LabelSpace) -> bool:
        """Where naming the most probable label is not best already."""
        return super().suits(metric, space) and not metric.argmax_is_best

    @property
    def unfitted(self) -> Decision:
        return Argmax()

    def fit(
        self, probabilities: Probabilities, labels: Labels, space: LabelSpace, metric: Metric
    ) -> list[float]:
        """From half-way between the labels, each point between its neighbours."""
        expected, last = _expected(probabilities), len(space.names) - 1
        worth_of = quick_worth(metric, labels, space)

        def worth(cuts: NDArray[np.float64]) -> float:
            return worth_of(_labels(expected, cuts))

        def between(cuts: list[float], place: int) -> NDArray[np.float64]:
            low = cuts[place - 1] if place else 0.0
            high = cuts[place + 1] if place + 1 < len(cuts) else float(last)
            return np.linspace(low, high, _STEPS + 2)[1:-1]

        def near(cuts: list[float], place: int) -> NDArray[np.float64]:
            candidates = cuts[place] + np.linspace(-0.05, 0.05, 11)
            low = cuts[place - 1] if place else 0.0
            high = cuts[place + 1] if place + 1 < len(cuts) else float(last)
            return candidates[(candidates > low) & (candidates < high)]

        halves = [label + 0.5 for label in range(last)]
        worths = one_by_one(worth)
        return climb(climb(halves, between, worths), near, worths)

    def decide(
        self, probabilities: Probabilities, space: LabelSpace, fitted: Sequence[float] = ()
    ) -> PredictedArray:
        """As `Decision.decide`."""
        return _labels(_expected(probabilities), fitted)

    def describe(self, space: LabelSpace, fitted: Sequence[float] = ()) -> str:
        return f"cut points {', '.join(f'{cut:.3f}' for cut in fitted)} of the expected label"


def _expected(probabilities: Probabilities) -> NDArray[np.float64]:
    """The mean place of the label, 0..K-1, float64 (N,)."""
    mean: NDArray[np.float64] = probabilities.astype(np.float64) @ np.arange(probabilities.shape[1])
    return mean


def _labels(expected: NDArray[np.float64], cuts: Sequence[float] | NDArray[np.float64]) -> NDArray[np.int64]:
    return np.searchsorted(np.asarray(cuts, np.float64), expected, side="right").astype(np.int64)
