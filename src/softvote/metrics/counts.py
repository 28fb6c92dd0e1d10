"""Metrics that are a function of sums over rows, so that a resample costs one multiplication."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from softvote.metrics.base import Labels, Metric, PredictedArray
from softvote.task import LabelSpace


class CountMetric(Metric):
    """A metric of sums over rows, such as how often each class was right."""

    @property
    def hits_per(self) -> Literal["label", "image", ""]:
        """Whether `hits` are all that it sums, over the rows of a label or the labels of an image.

        A search for thresholds then knows the sums without deciding on every row.
        """
        return ""

    def of_row_hits(
        self, right: NDArray[np.floating], named: NDArray[np.floating], true: NDArray[np.floating]
    ) -> NDArray[np.float64]:
        """Each image's value, float64 (N,).

        Args:
            right: floats (N,), how many classes were named and true.
            named: floats (N,), how many were named.
            true: floats (N,), how many were true.
        """
        raise NotImplementedError

    def counts(self, predictions: PredictedArray, labels: Labels, space: LabelSpace) -> Any:
        """What is summed over rows, (N, S); an array or a sparse one."""
        raise NotImplementedError

    def of_counts(self, sums: NDArray[np.float64], space: LabelSpace) -> NDArray[np.float64]:
        """The values float64 (B,) of sums (B, S)."""
        raise NotImplementedError

    def columns(self, space: LabelSpace) -> int:
        """A few numbers, however many classes there are."""
        return 3

    def resample(
        self, predictions: PredictedArray, labels: Labels, space: LabelSpace, weights: NDArray[np.floating]
    ) -> NDArray[np.float64]:
        """As `Metric.resample`."""
        sums = np.asarray(weights @ self.counts(predictions, labels, space), np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.of_counts(sums, space)


def hits(predictions: Labels, labels: Labels, classes: int) -> Any:
    """For each row and class whether it was right, named, and true: sparse float32 (N, 3 * classes)."""
    from scipy.sparse import csr_array

    if labels.ndim == 2:
        named, true = predictions > 0, labels > 0
        return csr_array(np.concatenate([named & true, named, true], axis=1).astype(np.float32))
    rows = np.arange(len(labels))
    right = np.flatnonzero(predictions == labels)
    row = np.concatenate([right, rows, rows])
    column = np.concatenate([labels[right], classes + predictions, 2 * classes + labels])
    ones = np.ones(len(row), np.float32)
    return csr_array((ones, (row, column)), shape=(len(labels), 3 * classes))


def split_hits(sums: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Sums (B, 3 K) of `hits` as right, named and true, (B, K) each."""
    right, named, true = np.split(sums, 3, axis=1)
    return right, named, true


def mean_where(values: NDArray[np.float64], there: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The mean (B,) of the values (B, K) that are there; what is not a number counts as 0."""
    counted = np.where(there, np.nan_to_num(values), 0.0).sum(axis=1)
    mean: NDArray[np.float64] = counted / there.sum(axis=1)
    return mean
