"""The k most probable classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from softvote.config.entries import MetricConfig, Predicted
from softvote.ensembling.decisions.base import Decision, register_decision
from softvote.ensembling.vote import Probabilities
from softvote.metrics import PredictedArray
from softvote.task import LabelSpace, TaskKind


@register_decision(rank=4)
class TopK(Decision):
    name: Literal["top_k"] = "top_k"
    """`top_k`: the most probable classes, the first first."""
    k: Annotated[int, Field(ge=1)] | None = None
    """Number of classes; if omitted, the metric's."""

    makes: ClassVar[Predicted] = "top_k"
    kinds: ClassVar[tuple[TaskKind, ...]] = ("classes", "ordered")

    def for_metric(self, metric: MetricConfig) -> Decision:
        """With the metric's k."""
        return self if self.k else TopK(k=metric.model_dump().get("k", 5))

    def decide(
        self, probabilities: Probabilities, space: LabelSpace, fitted: Sequence[float] = ()
    ) -> PredictedArray:
        """All of them where there are not so many; of equal ones the first."""
        most = min(self.k or 5, probabilities.shape[1])
        # Sorting all of thousands of classes would cost more than everything else.
        few = np.argpartition(-probabilities, most - 1, axis=1)[:, :most]
        few = np.sort(few, axis=1)
        order = np.argsort(-np.take_along_axis(probabilities, few, axis=1), axis=1, kind="stable")
        return np.take_along_axis(few, order, axis=1)

    def describe(self, space: LabelSpace, fitted: Sequence[float] = ()) -> str:
        return f"the {self.k} most probable labels"
