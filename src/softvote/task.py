"""What a competition asks of an image: the meaning of the columns of probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Literal

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

    @property
    def target_names(self) -> tuple[str, ...]:
        """What a label is asked of: each target; of tags every tag."""
        return self.names if self.task.kind == "tags" else tuple(name for name, _ in self.targets)
