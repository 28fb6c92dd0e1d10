"""Metrics of the order in which probabilities put rows: sorted once, whatever is resampled."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from softvote.errors import UserError
from softvote.metrics.base import Labels, Metric, PredictedArray, one_hot
from softvote.task import LabelSpace

# A longer ranking is cut where as many rows lie between two cuts; that moves a standard error by nothing that
# is shown, and saves a sum over all rows of every resample.
_QUANTILES = 1000


class Cuts(NamedTuple):
    """What is above each cut of a ranking, floats (B, C): from nothing to all rows."""

    true: NDArray[np.floating]
    false: NDArray[np.floating]


class RankingMetric(Metric):
    """A metric of one ranking of rows per column, and their mean over columns."""

    def of_cuts(self, cuts: Cuts) -> NDArray[np.floating]:
        """The values (B,) of rankings."""
        raise NotImplementedError

    def of_column(
        self, scores: NDArray[np.floating], truth: NDArray[np.bool_], weights: NDArray[np.floating] | None
    ) -> float:
        """The value of one column, as scikit-learn has it.

        Args:
            scores: floats (N,).
            truth: bool (N,), of both kinds.
            weights: floats (N,), how often each row counts.
        """
        raise NotImplementedError

    def ranked_columns(self, space: LabelSpace) -> list[int]:
        """The columns of which it is the mean: the second of two classes, else all."""
        return (
            [1] if space.task.is_single_label and space.task.num_classes == 2 else [*range(len(space.names))]
        )

    def value(
        self,
        predictions: PredictedArray,
        labels: Labels,
        space: LabelSpace,
        weights: NDArray[np.floating] | None = None,
    ) -> float:
        """The mean over the columns that have rows of both kinds.

        Raises:
            UserError: there is no such column.
        """
        truth = one_hot(labels, len(space.names))
        found = []
        for column in self.ranked_columns(space):
            counted = truth[:, column] if weights is None else truth[weights > 0, column]
            if counted.any() and not counted.all():
                found.append(self.of_column(predictions[:, column], truth[:, column], weights))
        if not found:
            raise UserError.at(
                f"metric {self.name}", "no label is both right and wrong among these rows", "score more rows"
            )
        return float(np.mean(found))

    def resample(
        self, predictions: PredictedArray, labels: Labels, space: LabelSpace, weights: NDArray[np.floating]
    ) -> NDArray[np.float64]:
        """As `Metric.resample`; columns of one kind in a resample are left out of its mean."""
        values = self.resample_columns(predictions, labels, space, weights)
        defined = np.isfinite(values)
        with np.errstate(invalid="ignore"):
            mean: NDArray[np.float64] = np.where(defined, values, 0).sum(axis=0) / defined.sum(axis=0)
        return mean

    def resample_columns(
        self, predictions: PredictedArray, labels: Labels, space: LabelSpace, weights: NDArray[np.floating]
    ) -> NDArray[np.float64]:
        """The values of each ranked column by itself, float64 (C, B); nan where a resample has one kind."""
        truth = one_hot(labels, len(space.names))
        values = np.full((len(self.ranked_columns(space)), len(weights)), np.nan)
        with np.errstate(divide="ignore", invalid="ignore"):
            for place, column in enumerate(self.ranked_columns(space)):
                values[place] = self.of_cuts(_cuts(predictions[:, column], truth[:, column], weights))
        return values

    def columns(self, space: LabelSpace) -> int:
        """One per ranking."""
        return len(self.ranked_columns(space))


def _cuts(scores: NDArray[np.floating], truth: NDArray[np.bool_], weights: NDArray[np.floating]) -> Cuts:
    """The cuts of a ranking from its top; rows of equal scores are on one side together."""
    from scipy.sparse import csr_array

    edges = np.unique(scores)
    if len(edges) > 2 * _QUANTILES:
        edges = np.unique([_quantiles(scores[truth]), _quantiles(scores[~truth])])
    steps = len(edges)
    step = steps - 1 - np.searchsorted(edges[1:], scores, side="right")  # 0 is the top
    place = np.where(truth, step, steps + step)
    rows = np.arange(len(scores))
    membership = csr_array((np.ones(len(rows), np.float32), (rows, place)), shape=(len(rows), 2 * steps))
    sums = np.asarray(weights @ membership, np.float64)
    zero = np.zeros((len(weights), 1))
    true, false = (np.cumsum(part, axis=1) for part in np.split(sums, 2, axis=1))
    return Cuts(np.hstack([zero, true]), np.hstack([zero, false]))


def _quantiles(scores: NDArray[np.floating]) -> NDArray[np.floating]:
    cuts: NDArray[np.floating] = np.quantile(scores, np.linspace(0, 1, _QUANTILES), method="lower")
    return cuts
