"""Scorers for tests: by a metric's name, of classes, tags or targets that are called a, b, c ..."""

from __future__ import annotations

from typing import Any

from softvote.config.entries import DecisionConfig
from softvote.ensembling.scorer import Scorer
from softvote.metrics import METRICS
from softvote.task import LabelSpace, Task, TaskKind


def label_space(columns: int, kind: TaskKind = "classes") -> LabelSpace:
    """A task of so many columns; several targets have two labels, and the rest."""
    names = tuple("abcdefghijklmnopqrstuvwxyz"[:columns])
    if kind == "targets":
        targets = (("first", names[:2]), ("second", names[2:]))
        return LabelSpace(Task(columns, kind=kind, target_sizes=(2, columns - 2)), names, targets)
    return LabelSpace(Task(columns, kind=kind), names)


def scorer_of(
    columns: int,
    metric: str = "accuracy",
    kind: TaskKind = "classes",
    decision: DecisionConfig | None = None,
    **more: Any,
) -> Scorer:
    """A scorer; `more` are keys of the metric."""
    found = METRICS[metric].model_validate({"name": metric} | more)
    return Scorer.create(found, label_space(columns, kind), decision)
