"""Metrics of the most probable classes: mean average precision at k, and error at k."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from softvote.config.entries import Predicted
from softvote.metrics.base import Labels, Metric, PredictedArray, register_metric
from softvote.task import LabelSpace, TaskKind

K = Annotated[int, Field(ge=1)]


class _TopK(Metric):
    k: K = 5
    """Number of classes that an image may be given, the most probable first."""

    needs: ClassVar[Predicted] = "top_k"
    kinds: ClassVar[tuple[TaskKind, ...]] = ("classes", "ordered")


@register_metric(rank=10)
class MapAtK(_TopK):
    name: Literal["map_at_k"] = "map_at_k"
    """`map_at_k`: 1 for an image whose first class is right, 1/2 for the second, ... up to 1/k, else 0."""

    @property
    def title(self) -> str:
        return f"MAP@{self.k}"

    def rows(
        self, predictions: PredictedArray, labels: Labels, space: LabelSpace
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """One over the rank of the true class."""
        places = predictions[:, : self.k]
        ranks = 1 / np.arange(1, places.shape[1] + 1)
        return (places == labels[:, None]) @ ranks, np.ones(len(labels))


@register_metric(rank=11)
class TopKError(_TopK):
    name: Literal["top_k_error"] = "top_k_error"
    """`top_k_error`: the proportion of images whose class is not among the k that they are given."""

    greater_is_better: ClassVar[bool] = False
    percent: ClassVar[bool] = True

    @property
    def title(self) -> str:
        return f"top-{self.k} error"

    def rows(
        self, predictions: PredictedArray, labels: Labels, space: LabelSpace
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """1 where the true class is missing."""
        missing = ~(predictions[:, : self.k] == labels[:, None]).any(axis=1)
        return missing.astype(np.float64), np.ones(len(labels))
