"""Scores with their standard errors, and plain words for whether two scores differ."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Verdict = Literal["better", "worse", "noise"]


# A probability of 0 for the true label would make the loss infinite. As in scikit-learn, the floor is
# the resolution of the dtype that every model's probabilities have.
FLOOR = float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class Score:
    """A metric's value over rows, as a share (accuracy: 0..1) or in the metric's own unit.

    Shown as `99.61 ± 0.03 %`, or as `0.0132 ± 0.0009` where `percent` is false.
    """

    value: float
    standard_error: float
    rows: int
    percent: bool = True

    def __str__(self) -> str:
        if self.percent:
            return _plus_minus(100 * self.value, 100 * self.standard_error, 2) + " %"
        return _plus_minus(self.value, self.standard_error, 4)


@dataclass(frozen=True)
class Difference:
    """One score minus another with its standard error; of percentages shown in points: `+0.021 ± 0.012`.

    Whether the two were taken on the same rows is for the one to know who computes the error.
    """

    value: float
    standard_error: float
    rows: int
    percent: bool = True
    greater_is_better: bool = True

    @property
    def gain(self) -> float:
        """The value, turned so that greater is better."""
        return self.value if self.greater_is_better else -self.value

    @property
    def verdict(self) -> Verdict:
        """Better, worse, or noise: the gain beside two standard errors."""
        return verdict(self.gain, self.standard_error)

    def __str__(self) -> str:
        if self.percent:
            return _plus_minus(100 * self.value, 100 * self.standard_error, 3, sign="+")
        return _plus_minus(self.value, self.standard_error, 4, sign="+")


def correct(probabilities: NDArray[np.float32], labels: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Which rows the most probable class gets right.

    Args:
        probabilities: float32 (N, K).
        labels: integers (N,) in 0..K-1, the columns of the true classes.

    Returns:
        bool (N,).

    Raises:
        ValueError: no rows, labels that are not one per row, or a label outside 0..K-1.
    """
    _check_rows(probabilities, labels)
    right: NDArray[np.bool_] = probabilities.argmax(axis=1) == labels
    return right


def accuracy(probabilities: NDArray[np.float32], labels: NDArray[np.integer]) -> Score:
    """Share of rows whose most probable class is the true one, with its binomial standard error.

    Arguments and errors are those of `correct`.
    """
    return proportion(correct(probabilities, labels))


def proportion(right: NDArray[np.bool_]) -> Score:
    """Share of true rows, with its standard error as `score_of_proportion` has it.

    Args:
        right: bool (N,).

    Raises:
        ValueError: no rows.
    """
    if len(right) == 0:
        raise ValueError("no rows to score")
    return score_of_proportion(int(np.count_nonzero(right)) / len(right), len(right))


def score_of_proportion(value: float, rows: int) -> Score:
    """A share that was counted over so many rows, with the standard error of Agresti and Coull (1998).

    They add two successes and two failures before taking sqrt(p (1 - p) / n), so that a voter without
    a mistake is not shown as certain: two standard errors are then about 3 / n, the rule of three. The
    share itself stays as counted, and at 99.7 % of 28,000 rows both formulas give 0.03 points.

    Args:
        value: 0..1.
        rows: at least one.
    """
    shrunk = (value * rows + 2) / (rows + 4)
    return Score(value, math.sqrt(shrunk * (1 - shrunk) / (rows + 4)), rows)


def losses(probabilities: NDArray[np.float32], labels: NDArray[np.integer]) -> NDArray[np.float64]:
    """Negative log probability of the true class, float64 (N,), in nats; at most -log(FLOOR), 15.9.

    Arguments and errors are those of `correct`.
    """
    _check_rows(probabilities, labels)
    truth = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    loss: NDArray[np.float64] = -np.log(np.clip(truth, FLOOR, 1.0))
    return loss


def log_loss(probabilities: NDArray[np.float32], labels: NDArray[np.integer]) -> Score:
    """Mean loss, with the standard error of a mean; that of a single row is unknown (nan).

    Arguments and errors are those of `correct`.
    """
    return _mean(losses(probabilities, labels))


def squared_error(probabilities: NDArray[np.float32], labels: NDArray[np.integer]) -> Score:
    """Mean squared error of the expected label, for labels that are numbers, with its standard error.

    Arguments and errors are those of `correct`.
    """
    _check_rows(probabilities, labels)
    expected = probabilities.astype(np.float64) @ np.arange(probabilities.shape[1])
    return _mean((expected - labels) ** 2)


def paired_difference(right: NDArray[np.bool_], other: NDArray[np.bool_]) -> Difference:
    """How much more often `right` is true than `other`, row by row.

    Rows that both get right or both wrong cancel, which makes this much sharper than comparing two
    standard errors. Half a row is added to each cell of the 2 x 2 table before the standard error is
    taken (Agresti and Min 2005), so that two voters who agree everywhere are not certain to be equal.

    Args:
        right: bool (N,).
        other: bool (N,), the same rows.

    Raises:
        ValueError: no rows, or not the same number of them.
    """
    if right.shape != other.shape or len(right) == 0:
        raise ValueError(f"cannot pair {right.shape} with {other.shape} rows")
    rows = len(right)
    won, lost = int(np.count_nonzero(right & ~other)), int(np.count_nonzero(other & ~right))
    variance = (won + lost + 1) - (won - lost) ** 2 / (rows + 2)
    return Difference((won - lost) / rows, math.sqrt(variance) / (rows + 2), rows)


def verdict(difference: float, standard_error: float) -> Verdict:
    """`noise` unless the difference is more than two standard errors from 0."""
    if not abs(difference) > 2 * standard_error:
        return "noise"
    return "better" if difference > 0 else "worse"


def verdict_text(difference: float, standard_error: float) -> str:
    """Whether a difference means anything, for people."""
    found = verdict(difference, standard_error)
    if found == "noise":
        return "noise, not more than two standard errors"
    return f"{found} by more than two standard errors"


def _plus_minus(value: float, error: float, least: int, sign: str = "-") -> str:
    """At least so many decimals; up to six where one digit of the error needs them."""
    needed = -math.floor(math.log10(error)) if error > 0 else 0
    digits = max(least, min(needed, 6))
    return f"{value:{sign}.{digits}f} ± {error:.{digits}f}"


def _mean(each: NDArray[np.float64]) -> Score:
    rows = len(each)
    spread = float(each.std(ddof=1)) if rows > 1 else math.nan
    return Score(float(each.mean()), spread / math.sqrt(rows), rows, percent=False)


def _check_rows(probabilities: NDArray[np.float32], labels: NDArray[np.integer]) -> None:
    if len(labels) == 0:
        raise ValueError("no rows to score")
    if len(probabilities) != len(labels):
        raise ValueError(f"{len(probabilities)} rows of probabilities but {len(labels)} labels")
    if labels.min() < 0 or labels.max() >= probabilities.shape[1]:
        raise ValueError(f"labels {labels.min()}..{labels.max()} but {probabilities.shape[1]} classes")
