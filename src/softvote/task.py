"""What a competition asks of an image: the meaning of the columns of probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

LARGEST_DIGIT = 9
LARGEST_ADDEND = 9


TaskKind = Literal["classes", "ordered", "tags", "targets"]
"""`classes`: one of K. `ordered`: one of K, whose order means something. `tags`: any of K. `targets`: one
class each of several targets. Labels are int64 (N,) of the first two, 0..K-1; (N, K) of 0 and 1 for tags;
(N, T) for targets, each 0..K_t-1."""


@dataclass(frozen=True)
class Task:
    """What is to be named.

    Attributes:
        num_classes: K, how many columns probabilities have.
        hidden_digits: S, where the label is a sum of digits 0..9 that hide in the image.
        addend: whether a known integer 0..9 comes with the image and is part of the sum.
        kind: what a row of labels is.
        target_sizes: K_t of each of several targets, which add up to K.
    """

    num_classes: int
    hidden_digits: int | None = None
    addend: bool = False
    kind: TaskKind = "classes"
    target_sizes: tuple[int, ...] = ()

    @property
    def is_single_label(self) -> bool:
        """Whether a row of labels is the number of one class."""
        return self.kind in ("classes", "ordered")

    @property
    def blocks(self) -> tuple[slice, ...]:
        """The columns whose probabilities sum to 1 in every row: all, a block per target, or none."""
        if self.kind == "tags":
            return ()
        ends = accumulate(self.target_sizes or (self.num_classes,), initial=0)
        return tuple(slice(start, end) for start, end in pairwise(ends))

    @property
    def label_shape(self) -> tuple[int, ...]:
        """The shape of the labels of one row: () of one class, (K,) of tags, (T,) of several targets."""
        if self.kind == "tags":
            return (self.num_classes,)
        return (len(self.target_sizes),) if self.kind == "targets" else ()

    def check_labels(self, labels: NDArray[np.integer]) -> str:
        """What is wrong with labels (N, ...) as a whole, in words; empty where they are of this task."""
        if labels.ndim < 1 or labels.shape[1:] != self.label_shape:
            return f"shape {labels.shape}, not {('N', *self.label_shape)}".replace("'", "")
        sizes = np.array(2 if self.kind == "tags" else self.target_sizes or self.num_classes)
        if len(labels) and not ((labels >= 0) & (labels < sizes)).all():
            return f"{labels.min()}..{labels.max()}, not 0..{sizes.max() - 1}"
        return ""

    def name(self, probabilities: NDArray[np.floating]) -> NDArray[np.int64]:
        """Name what is most probable: the class, each target's class, or the tags of at least one half.

        Args:
            probabilities: float (N, K).

        Returns:
            int64 (N,), (N, T), or (N, K) of 0 and 1, as labels have them.
        """
        if self.kind == "tags":
            return (probabilities >= 0.5).astype(np.int64)
        named = [probabilities[:, block].argmax(axis=1) for block in self.blocks]
        return np.asarray(np.stack(named, axis=1) if self.kind == "targets" else named[0], np.int64)

    def columns(self, labels: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Which columns of probabilities the labels name: bool (N, K) of labels as this task has them."""
        if self.kind == "tags":
            return labels.astype(bool)
        named = np.zeros((len(labels), self.num_classes), bool)
        starts = np.array([block.start for block in self.blocks])
        np.put_along_axis(named, labels.reshape(len(labels), -1) + starts, True, axis=1)
        return named

    @property
    def kind_fields(self) -> dict[str, Any]:
        """`kind` and `target_sizes` for a record; of classes nothing, so that theirs stay as they are."""
        if self.kind == "classes":
            return {}
        return {"kind": self.kind} | ({"target_sizes": list(self.target_sizes)} if self.target_sizes else {})

    @property
    def num_values(self) -> int:
        """How many values an image can show: the classes, less what the addend puts on top."""
        return self.num_classes - (LARGEST_ADDEND if self.addend else 0)

    @property
    def is_of_sums(self) -> bool:
        """Whether labels are sums of several numbers, so that how far off a guess is means something."""
        return (self.hidden_digits or 0) + self.addend > 1


@dataclass(frozen=True)
class LabelSpace:
    """A task, and what its columns are called.

    Attributes:
        task: what is to be named.
        names: K, of the columns: a label or tag each as it is written in files; of several targets
            `target=label`.
        targets: of several targets, T names and the labels of each.
    """

    task: Task
    names: tuple[str, ...]
    targets: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @classmethod
    def of_names(cls, task: Task, names: Sequence[str]) -> LabelSpace:
        """The labels of a task of whose columns alone the names are known; targets are numbered."""
        targets = tuple(
            (str(target), tuple(map(str, range(size)))) for target, size in enumerate(task.target_sizes)
        )
        return cls(task, tuple(names), targets)

    @property
    def target_names(self) -> tuple[str, ...]:
        """What a label is asked of: each target; of tags every tag."""
        return self.names if self.task.kind == "tags" else tuple(name for name, _ in self.targets)
