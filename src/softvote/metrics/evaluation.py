"""A metric's value on rows, with what its standard error and paired differences are taken from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from softvote.metrics.scores import Difference, Score, paired_difference

MOST_RESAMPLES = 200
FEWEST_RESAMPLES = 50
_WORK = 60_000_000  # weights drawn times columns looked at, about a second
_BLOCK = 2_000_000  # weights that are held at once
_ROUNDING = 1e-6  # of a value: what float32 probabilities cannot tell apart is not a difference


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a voter scores by a metric.

    Attributes:
        score: the value with its standard error.
        parts: float64 (n,), alike for every voter on the same rows: what `minus` subtracts.
        greater_is_better: whether a greater value is.
    """

    score: Score
    parts: NDArray[np.float64]
    greater_is_better: bool = True

    @property
    def worth(self) -> float:
        """The value, turned so that greater is better."""
        return self.score.value if self.greater_is_better else -self.score.value

    def minus(self, other: Evaluation) -> Difference:
        """This value less another's on the same rows, with the standard error of the paired difference."""
        ours, theirs = self.score.value, other.score.value
        rounding = _ROUNDING * max(abs(ours), abs(theirs))
        return Difference(
            ours - theirs,
            math.hypot(self._error_of(self.parts - other.parts), rounding),
            self.score.rows,
            self.score.percent,
            self.greater_is_better,
        )

    def _error_of(self, parts: NDArray[np.float64]) -> float:
        raise NotImplementedError


class Proportion(Evaluation):
    """A proportion of rows, whose `parts` are 1 where a row is right: see `paired_difference`."""

    def minus(self, other: Evaluation) -> Difference:
        """As `Evaluation.minus`, of a two-by-two table."""
        return paired_difference(self.parts > 0, other.parts > 0)


class RowMean(Evaluation):
    """A mean over rows, whose `parts` are what each row adds to it, times their number."""

    def _error_of(self, parts: NDArray[np.float64]) -> float:
        return error_of_mean(parts)


class Bootstrap(Evaluation):
    """Any other value, whose `parts` are what it is on resampled rows (Efron 1979)."""

    def _error_of(self, parts: NDArray[np.float64]) -> float:
        return error_of_resamples(parts)


def error_of_mean(parts: NDArray[np.float64]) -> float:
    """The standard error of the mean of parts (n,); that of a single one is unknown (nan)."""
    return float(parts.std(ddof=1)) / math.sqrt(len(parts)) if len(parts) > 1 else math.nan


def score_of_mean(
    values: NDArray[np.float64], groups: NDArray[np.integer] | None = None, percent: bool = False
) -> Score:
    """The mean of what rows score, with its standard error; where rows belong together, of groups drawn anew.

    Args:
        values: floats (N,).
        groups: as for `bootstrap_weights`.
        percent: whether they are proportions.
    """
    mean = float(values.mean())
    if groups is None:
        return Score(mean, error_of_mean(values), len(values), percent)
    drawn = np.concatenate(
        [(weights @ values) / weights.sum(axis=1) for weights in bootstrap_weights(len(values), groups)]
    )
    return Score(mean, error_of_resamples(drawn), len(values), percent)


def error_of_resamples(values: NDArray[np.float64]) -> float:
    """The standard deviation of values (B,), one per resample; where the metric is undefined they are nan."""
    defined = values[np.isfinite(values)]
    return float(defined.std(ddof=1)) if len(defined) > 1 else math.nan


def bootstrap_weights(
    rows: int, groups: NDArray[np.integer] | None, columns: int = 1
) -> Iterator[NDArray[np.float32]]:
    """Draw how often each row is in each resample.

    The draws depend on the arguments alone, so that two voters are scored on the same resamples and what they
    have in common cancels in their difference.

    Args:
        rows: N.
        groups: integers (N,); rows of a group (a patient, a driver) are drawn together. None draws rows.
        columns: how many each row has to be looked at; of many there are fewer resamples.

    Yields:
        float32 (b, N), in all 50 to 200 resamples.
    """
    unit_of_row = None if groups is None else np.unique(groups, return_inverse=True)[1]
    units = rows if unit_of_row is None else int(unit_of_row.max()) + 1
    left = int(np.clip(_WORK // max(1, rows * columns), FEWEST_RESAMPLES, MOST_RESAMPLES))
    random = np.random.default_rng(0)
    while left:
        block = min(left, max(1, _BLOCK // rows))
        drawn = random.integers(0, units, (block, units)) + units * np.arange(block)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=block * units).reshape(block, units)
        yield (counts if unit_of_row is None else counts[:, unit_of_row]).astype(np.float32)
        left -= block
