"""Real digits as each kind of task: what one asks of them, and labels that say so."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from softvote.heads import HEADS
from softvote.task import Task, TaskKind

HEADS_OF_CLASSES = [name for name, head in HEADS.items() if "classes" in head.kinds]


class Kind(NamedTuple):
    """A task on digits.

    Attributes:
        facts: of `competition`.
        task: the same.
        head: that it has where none is named.
    """

    facts: dict[str, Any]
    task: Task
    head: str

    def labels(self, digits: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64 (N, ...) of digits 0..9: the digit; even, large, with a loop; or parity and size."""
        if self.task.kind == "tags":
            return np.stack([digits % 2 == 0, digits >= 5, np.isin(digits, (0, 6, 8, 9))], 1).astype(np.int64)
        return np.stack([digits % 2, digits // 4], axis=1) if self.task.kind == "targets" else digits


KINDS: dict[TaskKind, Kind] = {
    "ordered": Kind(
        {"labels": {"first": 0, "last": 9}, "ordered": True}, Task(10, kind="ordered"), "ordinal"
    ),
    "tags": Kind({"tags": ["even", "large", "loop"]}, Task(3, kind="tags"), "tags"),
    "targets": Kind(
        {"targets": {"parity": ["even", "odd"], "size": {"first": 0, "last": 2}}},
        Task(5, kind="targets", target_sizes=(2, 3)),
        "targets",
    ),
}
