"""F1 and F-beta."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from softvote.config.schema import ConfigError, Positive
from softvote.metrics.base import (
    Labels,
    Metric,
    PredictedArray,
    check_names,
    positive_column,
    register_metric,
)
from softvote.metrics.counts import CountMetric, hits, mean_where, split_hits
from softvote.task import LabelSpace, TaskKind

Average = Literal["binary", "micro", "macro", "samples"]


class FMeasure(CountMetric):
    """The weighted harmonic mean of precision and recall (van Rijsbergen 1979), 0..1."""

    average: Average = "macro"
    """What is counted together: `binary` looks for one of two classes, `micro` counts over all labels,
    `macro` is the mean over labels, `samples` the mean over images (of tags)."""
    positive: str | None = None
    """Name of the class that `binary` looks for; if omitted, the second."""

    kinds: ClassVar[tuple[TaskKind, ...]] = ("classes", "ordered", "tags")

    @property
    def weight_of_recall(self) -> float:
        """Beta: how many times as much recall counts as precision."""
        return 1.0

    @property
    def hits_per(self) -> Literal["label", "image", ""]:
        return "image" if self.average == "samples" else "label"

    @property
    def title(self) -> str:
        return f"{'' if self.average == 'binary' else f'{self.average} '}F{self.weight_of_recall:g}"

    def check(self, space: LabelSpace) -> None:
        """Refuse an average that does not go with the labels."""
        check_names("positive", self.positive, space.names, "class")
        if self.average == "binary" and (space.task.kind == "tags" or len(space.names) != 2):
            raise ConfigError.at("average", "binary is for two classes", "use micro, macro or samples")
        if self.average == "samples" and space.task.kind != "tags":
            raise ConfigError.at("average", "samples is for tags", "use micro or macro")

    def value(
        self,
        predictions: PredictedArray,
        labels: Labels,
        space: LabelSpace,
        weights: NDArray[np.floating] | None = None,
    ) -> float:
        """As `Metric.value`, by scikit-learn."""
        from sklearn.metrics import fbeta_score

        counted = slice(None) if weights is None else weights > 0  # classes that are nowhere count nowhere
        return float(
            fbeta_score(
                labels[counted],
                predictions[counted],
                beta=self.weight_of_recall,
                average=self.average,
                pos_label=positive_column(self.positive, space),
                sample_weight=None if weights is None else weights[counted],
                zero_division=0,
            )
        )

    def rows(
        self, predictions: PredictedArray, labels: Labels, space: LabelSpace
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Each image's, where their mean is taken."""
        if self.average != "samples":
            return None
        named, true = predictions > 0, labels > 0
        sums = [each.sum(axis=1, dtype=np.int32).astype(np.float64) for each in (named & true, named, true)]
        return self.of_row_hits(*sums), np.ones(len(labels))

    def of_row_hits(
        self, right: NDArray[np.floating], named: NDArray[np.floating], true: NDArray[np.floating]
    ) -> NDArray[np.float64]:
        """As scikit-learn has it, 0 of an image that has no tag and is given none."""
        with np.errstate(invalid="ignore"):
            return np.nan_to_num(self._of_sums(right, named, true))

    def resample(
        self, predictions: PredictedArray, labels: Labels, space: LabelSpace, weights: NDArray[np.floating]
    ) -> NDArray[np.float64]:
        """As `Metric.resample`."""
        kind = Metric if self.average == "samples" else CountMetric
        return kind.resample(self, predictions, labels, space, weights)

    def counts(self, predictions: PredictedArray, labels: Labels, space: LabelSpace) -> Any:
        """How often each label is right, named, and true."""
        return hits(predictions, labels, len(space.names))

    def of_counts(self, sums: NDArray[np.float64], space: LabelSpace) -> NDArray[np.float64]:
        """Of the sums over labels, of one label, or the mean over labels."""
        right, named, true = split_hits(sums)
        if self.average == "micro":
            return np.nan_to_num(self._of_sums(right.sum(axis=1), named.sum(axis=1), true.sum(axis=1)))
        each = self.of_labels(sums)
        if self.average == "binary":
            return each[:, positive_column(self.positive, space)]
        # As scikit-learn has it: a class that is neither named nor true is not there, a tag always is.
        there = np.full(true.shape, True) if space.task.kind == "tags" else (named + true) > 0
        return mean_where(each, there)

    def of_labels(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """Each label's value (B, K) of sums (B, 3 K) of `hits`; 0 where it is neither named nor true."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.nan_to_num(self._of_sums(*split_hits(sums)))

    def _of_sums(
        self, right: NDArray[np.floating], named: NDArray[np.floating], true: NDArray[np.floating]
    ) -> NDArray[np.float64]:
        square = self.weight_of_recall**2
        value: NDArray[np.float64] = (1 + square) * right / (square * true + named)
        return value


@register_metric(rank=6)
class F1(FMeasure):
    name: Literal["f1"] = "f1"
    """`f1`: the harmonic mean of precision and recall."""


@register_metric(rank=7)
class FBeta(FMeasure):
    name: Literal["f_beta"] = "f_beta"
    """`f_beta`: the harmonic mean of precision and recall, in which recall counts `beta` times as much."""
    beta: Positive = 2.0
    """Factor by which recall counts more than precision; no unit."""

    @property
    def weight_of_recall(self) -> float:
        return self.beta
