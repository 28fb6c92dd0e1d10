"""Thresholds: one for all tags, or one for each, fitted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from softvote.config.entries import MetricConfig
from softvote.config.schema import ConfigError, Fraction
from softvote.ensembling.decisions.base import (
    Decision,
    Worths,
    climb,
    distinct_quantiles,
    one_by_one,
    quick_worth,
    register_decision,
)
from softvote.ensembling.vote import Probabilities
from softvote.metrics import Labels, Metric, PredictedArray
from softvote.metrics.counts import CountMetric
from softvote.task import LabelSpace, TaskKind

_COARSE = 25
_FINE = 8


class _Cuts(Decision):
    at_least_one: bool = False
    """Give an image whose tags are all below their thresholds the most probable of them."""

    def check(self, space: LabelSpace) -> None:
        """Refuse more than two classes."""
        if space.task.kind != "tags" and len(space.names) != 2:
            what = f"{self.name} is for tags or two classes, but this competition has {len(space.names)}"
            raise ConfigError.at("", what, "leave it out")

    def _mark(
        self, probabilities: Probabilities, cuts: Sequence[float] | NDArray[np.float64], space: LabelSpace
    ) -> NDArray[np.bool_]:
        """What is above its cut: (N,) whether it is the second of two classes, or (N, K) of tags."""
        if space.task.kind != "tags":
            return probabilities[:, 1] > cuts[0]
        marks = probabilities > np.asarray(cuts, np.float64)
        if self.at_least_one:
            empty = np.flatnonzero(~marks.any(axis=1))
            marks[empty, probabilities[empty].argmax(axis=1)] = True
        return marks


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
        return self._mark(probabilities, self.thresholds(space), space).astype(np.int64)

    def thresholds(self, space: LabelSpace, fitted: Sequence[float] = ()) -> Sequence[float]:
        """The same for all."""
        return [self.at] * len(space.names)

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
        # Columns are compared and summed one by one, which takes a fifth of the time where they lie together.
        probabilities, labels = np.asfortranarray(probabilities), np.asfortranarray(labels)
        columns = [probabilities[:, 1]] if space.task.kind != "tags" else list(probabilities.T)
        worths = self._worths(probabilities, labels, space, metric)
        common = np.tile(_common(columns)[:, None], (1, len(columns)))
        start = common[int(worths(common).argmax())].tolist()
        coarse = [distinct_quantiles(column, _COARSE) for column in columns]
        cuts = climb(start, lambda _, place: coarse[place], worths, rounds=2)
        near = [_near(column, cut) for column, cut in zip(columns, cuts, strict=True)]
        return climb(cuts, lambda _, place: near[place], worths, rounds=1)

    def _worths(
        self, probabilities: Probabilities, labels: Labels, space: LabelSpace, metric: Metric
    ) -> Worths:
        tags = space.task.kind == "tags" and not self.at_least_one
        if tags and isinstance(metric, CountMetric) and metric.hits_per:
            kind = _HitsOfLabels if metric.hits_per == "label" else _HitsOfImages
            return kind(probabilities, labels, space, metric)
        worth_of = quick_worth(metric, labels, space)
        return one_by_one(lambda cuts: worth_of(self._mark(probabilities, cuts, space)))

    def decide(
        self, probabilities: Probabilities, space: LabelSpace, fitted: Sequence[float] = ()
    ) -> PredictedArray:
        """As `Decision.decide`."""
        return self._mark(probabilities, fitted, space).astype(np.int64)

    def thresholds(self, space: LabelSpace, fitted: Sequence[float] = ()) -> Sequence[float]:
        """As they were fitted."""
        return fitted

    def describe(self, space: LabelSpace, fitted: Sequence[float] = ()) -> str:
        names = space.names if space.task.kind == "tags" else space.names[1:2]
        shown = [f"{name} {cut:.3g}" for name, cut in zip(names, fitted, strict=False)]
        more = f", ... ({len(shown)} in all)" if len(shown) > 8 else ""
        return f"thresholds {', '.join(shown[:8])}{more}"


class _HitsOfLabels:
    """What thresholds are worth, by how many rows are above them: looked up, and not decided."""

    def __init__(
        self, probabilities: Probabilities, labels: Labels, space: LabelSpace, metric: CountMetric
    ) -> None:
        columns = probabilities.astype(np.float64).T
        self.named = [np.sort(column) for column in columns]
        self.right = [np.sort(column[true > 0]) for column, true in zip(columns, labels.T, strict=True)]
        self.metric, self.space = metric, space

    def __call__(self, choices: NDArray[np.float64]) -> NDArray[np.float64]:
        right, named = (
            np.stack([_above(column, cuts) for column, cuts in zip(table, choices.T, strict=True)], axis=1)
            for table in (self.right, self.named)
        )
        true = np.tile([len(column) for column in self.right], (len(choices), 1))
        sums = np.concatenate([right, named, true], axis=1).astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            values = self.metric.of_counts(sums, self.space)
        return values if self.metric.greater_is_better else -values


class _HitsOfImages:
    """What thresholds are worth, by how many tags of each image are right: of most tags they are known."""

    def __init__(
        self, probabilities: Probabilities, labels: Labels, space: LabelSpace, metric: CountMetric
    ) -> None:
        self.probabilities, self.true, self.metric = probabilities, labels > 0, metric
        self.of_truth = self.true.sum(axis=1, dtype=np.float32)

    def __call__(self, choices: NDArray[np.float64]) -> NDArray[np.float64]:
        same = (choices == choices[0]).all(axis=0)
        right, named = self._hits(np.flatnonzero(same), choices[0])
        values = [self._value(right, named, np.flatnonzero(~same), cuts) for cuts in choices]
        return np.array(values)

    def _hits(
        self, columns: NDArray[np.intp], cuts: NDArray[np.float64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """How many tags of these columns are right, and are named, (N,) each."""
        right, named = np.zeros((2, len(self.true)), np.float32)
        for column in columns:
            above = self.probabilities[:, column] > cuts[column]
            named += above
            right += above & self.true[:, column]
        return right, named

    def _value(
        self,
        right: NDArray[np.float32],
        named: NDArray[np.float32],
        columns: NDArray[np.intp],
        cuts: NDArray[np.float64],
    ) -> float:
        more_right, more_named = self._hits(columns, cuts)
        each = self.metric.of_row_hits(right + more_right, named + more_named, self.of_truth)
        value = float(each.mean())
        return value if self.metric.greater_is_better else -value


def _above(ordered: NDArray[np.float64], cuts: NDArray[np.float64]) -> NDArray[np.intp]:
    return len(ordered) - np.searchsorted(ordered, cuts, side="right")


def _common(columns: Sequence[NDArray[np.floating]]) -> NDArray[np.float64]:
    return np.append(distinct_quantiles(np.concatenate(columns), _COARSE), 0.5)


def _near(column: NDArray[np.floating], cut: float) -> NDArray[np.float64]:
    """Candidates between the neighbours that the coarse search had."""
    coarse = np.concatenate([[0.0], distinct_quantiles(column, _COARSE), [1.0]])
    low, high = coarse[coarse < cut].max(initial=0.0), coarse[coarse > cut].min(initial=1.0)
    return distinct_quantiles(column[(column > low) & (column < high)], _FINE)
