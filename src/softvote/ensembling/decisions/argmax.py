"""The most probable label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np

from softvote.ensembling.decisions.base import Decision, register_decision
from softvote.ensembling.vote import Probabilities
from softvote.metrics import PredictedArray
from softvote.task import LabelSpace, TaskKind


@register_decision(rank=2)
class Argmax(Decision):
    name: Literal["argmax"] = "argmax"
    """`argmax`: the most probable class, or the most probable of each target."""

    kinds: ClassVar[tuple[TaskKind, ...]] = ("classes", "ordered", "targets")

    def decide(
        self, probabilities: Probabilities, space: LabelSpace, fitted: Sequence[float] = ()
    ) -> PredictedArray:
        """Of equal ones the first."""
        best = [probabilities[:, block].argmax(axis=1) for block in space.task.blocks]
        return np.stack(best, axis=1) if space.task.kind == "targets" else best[0]

    def describe(self, space: LabelSpace, fitted: Sequence[float] = ()) -> str:
        return "the most probable label"
