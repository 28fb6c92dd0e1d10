"""Thresholds: one for all tags, or one for each, fitted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from softvote.config.registry import MetricConfig
from softvote.config.schema import ConfigError, Fraction
from softvote.ensembling.decisions.base import (
    Decision,
    climb,
    distinct_quantiles,
    quick_worth,
    register_decision,
)
from softvote.ensembling.vote import Probabilities
from softvote.metrics import Labels, Metric, PredictedArray
from softvote.task import LabelSpace, TaskKind

_COARSE = 25
_FINE = 8


class _Cuts(Decision):
    at_least_one: bool = False
    """Give an image whose tags are all below their thresholds the most probable of them."""

    def check(self, space: LabelSpace) -> None:
        """Refuse more than two classes."""
        if space.task.kind != "tags" and len(space.names) != 2:
            what = f"{self.name} is of tags or two classes, and here are {len(space.names)}"
            raise ConfigError.at("", what, "leave it out")

    def _decide(
        self, probabilities: Probabilities, cuts: Sequence[float], space: LabelSpace
    ) -> PredictedArray:
        if space.task.kind != "tags":
            return (probabilities[:, 1] > cuts[0]).astype(np.int64)
        decided = (probabilities > np.asarray(cuts, np.float64)).astype(np.int64)
        if self.at_least_one:
            empty = np.flatnonzero(~decided.any(axis=1))
            decided[empty, probabilities[empty].argmax(axis=1)] = 1
        return decided


@register_decision(rank=3)
class Threshold(_Cuts):
    name: Literal["threshold"] = "threshold"
    """`threshold`: the tags that are more probable than one threshold; of two classes the second where it
    is."""
    at: Fraction = 0.5
    """Probability above which a tag is given."""

    kinds: ClassVar[tuple[TaskKind, ...]] = ("tags", "classes", "ordered")

    @classmethod
    def suits(cls, metric: MetricConfig, space: LabelSpace) -> bool:
        """Of tags only: two classes have their argmax."""
        return super().suits(metric, space) and space.task.kind == "tags"

    def decide(
        self, probabilities: Probabilities, space: LabelSpace, fitted: Sequence[float] = ()
    ) -> PredictedArray:
        """As `Decision.decide`."""
        return self._decide(probabilities, [self.at] * len(space.names), space)

    def describe(self, space: LabelSpace, fitted: Sequence[float] = ()) -> str:
        return f"threshold {self.at:g}"


@register_decision(rank=0)
class Thresholds(_Cuts):
    name: Literal["thresholds"] = "thresholds"
    """`thresholds`: a threshold per tag, fitted so that the metric is best; of two classes one for the
    second."""

    kinds: ClassVar[tuple[TaskKind, ...]] = ("tags", "classes", "ordered")
    needs_fit: ClassVar[bool] = True

    @classmethod
    def suits(cls, metric: MetricConfig, space: LabelSpace) -> bool:
        """Of tags and of two classes, where naming what is probable is not best already."""
        two = space.task.kind == "tags" or len(space.names) == 2
        return super().suits(metric, space) and two and not metric.argmax_is_best

    @property
    def unfitted(self) -> Decision:
        return Threshold(at_least_one=self.at_least_one)

    def fit(
        self, probabilities: Probabilities, labels: Labels, space: LabelSpace, metric: Metric
    ) -> list[float]:
        """The best common threshold, then each by itself, first coarsely and then near what was best."""
        columns = [probabilities[:, 1]] if space.task.kind != "tags" else list(probabilities.T)
        worth_of = quick_worth(metric, labels, space)

        def worth(cuts: list[float]) -> float:
            return worth_of(self._decide(probabilities, cuts, space))

        common = max(_common(columns), key=lambda cut: worth([cut] * len(columns)))
        coarse = [distinct_quantiles(column, _COARSE) for column in columns]
        cuts = climb([float(common)] * len(columns), lambda _, place: coarse[place], worth, rounds=2)
        near = [_near(column, cut) for column, cut in zip(columns, cuts, strict=True)]
        return climb(cuts, lambda _, place: near[place], worth, rounds=1)

    def decide(
        self, probabilities: Probabilities, space: LabelSpace, fitted: Sequence[float] = ()
    ) -> PredictedArray:
        """As `Decision.decide`."""
        return self._decide(probabilities, fitted, space)

    def describe(self, space: LabelSpace, fitted: Sequence[float] = ()) -> str:
        names = space.names if space.task.kind == "tags" else space.names[1:2]
        shown = [f"{name} {cut:.3g}" for name, cut in zip(names, fitted, strict=False)]
        more = f", ... ({len(shown)} in all)" if len(shown) > 8 else ""
        return f"thresholds {', '.join(shown[:8])}{more}"


def _common(columns: Sequence[NDArray[np.floating]]) -> NDArray[np.float64]:
    return np.append(distinct_quantiles(np.concatenate(columns), _COARSE), 0.5)


def _near(column: NDArray[np.floating], cut: float) -> NDArray[np.float64]:
    """Candidates between the neighbours that the coarse search had."""
    coarse = np.concatenate([[0.0], distinct_quantiles(column, _COARSE), [1.0]])
    low, high = coarse[coarse < cut].max(initial=0.0), coarse[coarse > cut].min(initial=1.0)
    return distinct_quantiles(column[(column > low) & (column < high)], _FINE)
