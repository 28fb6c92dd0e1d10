"""What every decision does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from softvote.config.entries import DecisionConfig, MetricConfig
from softvote.config.registry import Registry, register_by_name
from softvote.ensembling.vote import Probabilities
from softvote.metrics import Labels, Metric, PredictedArray
from softvote.task import LabelSpace


class Decision(DecisionConfig):
    """Makes of probabilities what is submitted and scored."""

    @classmethod
    def suits(cls, metric: MetricConfig, space: LabelSpace) -> bool:
        """Whether `auto` may take it: it makes what the metric needs, and has a reason to."""
        return metric.predicted == cls.makes and space.task.kind in cls.kinds

    def for_metric(self, metric: MetricConfig) -> Decision:
        """The same, with what was left to the metric filled in."""
        return self

    @property
    def unfitted(self) -> Decision:
        """What is decided where nothing was fitted; itself, unless numbers are fitted."""
        return self

    def fit(
        self, probabilities: Probabilities, labels: Labels, space: LabelSpace, metric: Metric
    ) -> list[float]:
        """Find the numbers for which the metric is best; none of a decision that has none.

        Args:
            probabilities: float32 (N, K), of rows that no network was trained on.
            labels: of these rows.
        """
        return []

    def decide(
        self, probabilities: Probabilities, space: LabelSpace, fitted: Sequence[float] = ()
    ) -> PredictedArray:
        """Decide on N rows.

        Args:
            probabilities: float32 (N, K).
            fitted: what `fit` found.

        Returns:
            what `softvote.config.entries.Predicted` says of `makes`.
        """
        raise NotImplementedError

    def thresholds(self, space: LabelSpace, fitted: Sequence[float] = ()) -> Sequence[float]:
        """The probability above which each tag is named; none of a decision that has none."""
        return ()

    def describe(self, space: LabelSpace, fitted: Sequence[float] = ()) -> str:
        """What is decided by, for people."""
        return self.name.replace("_", " ")


DECISIONS: Registry[type[Decision]] = Registry()
"""The class of every `decision`."""


_C = TypeVar("_C", bound=Decision)


def register_decision(rank: int = 100) -> Callable[[type[_C]], type[_C]]:
    """Register a class under the name that its `name: Literal[...]` allows.

    `rank` is as for `Registry.add`; `auto` takes the first that suits.
    """
    return register_by_name(DECISIONS, rank)


Worths = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""What each of B choices of n numbers is worth, (B, n) -> (B,); greater is better."""


def climb(
    start: Sequence[float],
    candidates: Callable[[list[float], int], NDArray[np.float64]],
    worths: Worths,
    rounds: int = 3,
) -> list[float]:
    """Improve numbers one at a time (coordinate ascent) until none gets better.

    Args:
        start: the numbers.
        candidates: floats (C,), of the number at a place, given all of them.
        worths: of several choices of the n numbers, floats (C, n). Of equal ones what is there stays.
        rounds: at most so many times over all numbers.
    """
    best = list(start)
    highest = float(worths(np.array([best]))[0])
    for _ in range(rounds):
        before = list(best)
        for place in range(len(best)):
            tried = candidates(best, place)
            if not len(tried):
                continue
            choices = np.tile(np.array(best, np.float64), (len(tried), 1))
            choices[:, place] = tried
            found = worths(choices)
            if found.max() > highest:
                best[place], highest = float(tried[found.argmax()]), float(found.max())
        if best == before:
            break
    return best


def one_by_one(worth: Callable[[NDArray[np.float64]], float]) -> Worths:
    """What choices (C, n) are worth, floats (C,), each of them (n,) asked about by itself."""
    return lambda choices: np.array([worth(choice) for choice in choices])


def quick_worth(metric: Metric, labels: Labels, space: LabelSpace) -> Callable[[PredictedArray], float]:
    """What predictions are worth, greater being better, as a resample that has every row once.

    That is many times quicker than scikit-learn's value, and a search asks a thousand times.
    """
    once = np.ones((1, len(labels)), np.float32)
    sign = 1.0 if metric.greater_is_better else -1.0

    def worth(predictions: PredictedArray) -> float:
        return sign * float(metric.resample(predictions, labels, space, once)[0])

    return worth


def distinct_quantiles(values: NDArray[np.floating], count: int) -> NDArray[np.float64]:
    """At most so many values that split rows about evenly, between two that occur, float64 (n,)."""
    there = np.unique(values.astype(np.float64))
    middles = (there[1:] + there[:-1]) / 2
    if len(middles) <= count:
        return middles
    cuts: NDArray[np.float64] = np.unique(np.quantile(middles, np.linspace(0, 1, count)))
    return cuts
