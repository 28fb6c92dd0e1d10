"""What every metric does."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import yaml
from numpy.typing import NDArray

from softvote.config.entries import MetricConfig
from softvote.config.registry import Registry, register_by_name
from softvote.config.schema import ConfigError
from softvote.errors import one_of
from softvote.metrics.evaluation import (
    Bootstrap,
    Evaluation,
    RowMean,
    bootstrap_weights,
    error_of_mean,
    error_of_resamples,
)
from softvote.metrics.scores import Score
from softvote.task import LabelSpace

PredictedArray = NDArray[Any]
"""As `softvote.config.entries.Predicted` says of what the metric needs."""


Labels = NDArray[np.integer]
"""Integers (N,), (N, K) of 0 and 1, or (N, T), as `softvote.task.TaskKind` says."""


class Metric(MetricConfig):
    """Computes what is scored. The simplest metric is a `value`."""

    def value(
        self,
        predictions: PredictedArray,
        labels: Labels,
        space: LabelSpace,
        weights: NDArray[np.floating] | None = None,
    ) -> float:
        """Score predictions.

        Args:
            predictions: of N rows, what `predicted` says.
            weights: floats (N,), how often each row counts; once where they are left out.
        """
        rows = self.rows(predictions, labels, space)
        assert rows is not None, "a metric has a value, or rows of which it is the mean"
        values, own = rows
        return float(np.average(values, weights=own if weights is None else own * weights))

    def rows(
        self, predictions: PredictedArray, labels: Labels, space: LabelSpace
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """What each row scores, and its weight, floats (N,) each; None of a metric that is not their mean."""
        return None

    def resample(
        self, predictions: PredictedArray, labels: Labels, space: LabelSpace, weights: NDArray[np.floating]
    ) -> NDArray[np.float64]:
        """Score resamples of the rows, as `value` does each of them.

        Args:
            weights: floats (B, N), how often each row is in each resample.

        Returns:
            float64 (B,); nan where a resample has no value.
        """
        rows = self.rows(predictions, labels, space)
        if rows is None:
            return np.array([self.value(predictions, labels, space, each) for each in weights])
        values, own = rows
        with np.errstate(invalid="ignore"):
            scored: NDArray[np.float64] = (weights @ (values * own)) / (weights @ own)
        return scored

    def columns(self, space: LabelSpace) -> int:
        """How much a row of a resample costs, in numbers to look at."""
        return 1

    def evaluate(
        self,
        predictions: PredictedArray,
        labels: Labels,
        space: LabelSpace,
        groups: NDArray[np.integer] | None = None,
    ) -> Evaluation:
        """Score predictions with the standard error: of a mean where it is one, else bootstrapped.

        Args:
            predictions: of N rows, what `predicted` says.
            groups: integers (N,), of rows that belong together (a patient, a driver): then groups are
                resampled and not rows.
        """
        value = self.value(predictions, labels, space)
        rows = self.rows(predictions, labels, space)
        if rows is not None and groups is None:
            values, own = rows
            weighted = not (own == 1).all()
            parts = value + (values - value) * own / own.mean() if weighted else values
            return self._evaluation(RowMean, value, error_of_mean(parts), parts)
        draws = bootstrap_weights(len(labels), groups, self.columns(space))
        parts = np.concatenate([self.resample(predictions, labels, space, drawn) for drawn in draws])
        together = groups is not None and len(np.unique(groups)) < 2  # then nothing tells how groups differ
        error = math.nan if together else error_of_resamples(parts)
        return self._evaluation(Bootstrap, value, error, parts, len(labels))

    def _evaluation(
        self,
        kind: type[Evaluation],
        value: float,
        error: float,
        parts: NDArray[np.float64],
        rows: int | None = None,
    ) -> Evaluation:
        score = Score(value, error, len(parts) if rows is None else rows, self.percent)
        return kind(score, parts, self.greater_is_better)


METRICS: Registry[type[Metric]] = Registry()
"""The class of every `competition.metric`."""


_C = TypeVar("_C", bound=Metric)


def register_metric(rank: int = 100) -> Callable[[type[_C]], type[_C]]:
    """Register a class under the name that its `name: Literal[...]` allows; `rank` as for `Registry.add`."""
    return register_by_name(METRICS, rank)


def as_metric(config: MetricConfig) -> Metric:
    """The metric that a pipeline file names; they are one object."""
    assert isinstance(config, Metric)
    return config


def parse_metric(text: str) -> MetricConfig:
    """The metric that `str` made the text of; one without a kind where there is none of that name."""
    name, _, said = text.partition(" ")
    kind = METRICS.get(name)
    if kind is None:
        return MetricConfig(name=name)
    return kind.model_validate({"name": name} | (yaml.safe_load(said) if said else {}))


def check_names(key: str, given: dict[str, Any] | str | None, known: tuple[str, ...], what: str) -> None:
    """Refuse names of columns or targets that there are not.

    Raises:
        ConfigError: the first of them.
    """
    for name in [given] if isinstance(given, str) else given or ():
        if name not in known:
            raise ConfigError.at(key, f"no {what} '{name}'", one_of(list(known), name))


def weights_of(given: dict[str, float] | None, names: tuple[str, ...]) -> NDArray[np.float64]:
    """The weight of each name; 1 of those that are not given."""
    return np.array([(given or {}).get(name, 1.0) for name in names])


def positive_column(given: str | None, space: LabelSpace) -> int:
    """The column of the class that is looked for; the second of two where none is given."""
    return 1 if given is None else space.names.index(given)


def one_hot(labels: Labels, columns: int) -> NDArray[np.bool_]:
    """bool (N, columns), true where the label is; tags are so already."""
    return labels > 0 if labels.ndim == 2 else labels[:, None] == np.arange(columns)
