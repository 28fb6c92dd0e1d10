"""Probabilities as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from softvote.config.entries import MetricConfig, Predicted
from softvote.ensembling.decisions.base import Decision, register_decision
from softvote.ensembling.vote import Probabilities
from softvote.metrics import PredictedArray
from softvote.task import LabelSpace


@register_decision(rank=5)
class AsProbabilities(Decision):
    name: Literal["probabilities"] = "probabilities"
    """`probabilities`: as they are."""
    clip: Annotated[float, Field(ge=0, lt=0.5)] | None = None
    """Probability that none falls below, and 1 less it that none exceeds; if omitted, what the metric asks
    for: of log loss 1.2e-7, else 0."""

    makes: ClassVar[Predicted] = "probabilities"

    def for_metric(self, metric: MetricConfig) -> Decision:
        """With the metric's clip."""
        return AsProbabilities(clip=metric.clip) if self.clip is None else self

    def decide(
        self, probabilities: Probabilities, space: LabelSpace, fitted: Sequence[float] = ()
    ) -> PredictedArray:
        """Clipped."""
        clip = np.float32(self.clip or 0)
        return np.clip(probabilities, clip, np.float32(1) - clip)

    def describe(self, space: LabelSpace, fitted: Sequence[float] = ()) -> str:
        return f"probabilities within {self.clip:.2g} of 0 and 1" if self.clip else "probabilities"
