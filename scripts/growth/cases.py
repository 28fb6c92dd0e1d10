"""Sizes of work that are measured: one number varies at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from softvote.data.digit_layout import SIDE
from softvote.words import counted

Facts = dict[str, Any]
Axis = Literal["rows", "members", "folds", "image", "most"]

CLASSES = 10
NAME = "growth"
"""Of the competition and of the pipeline."""
MEMBERS, FOLDS, IMAGES = (1, 5, 25), (2, 5, 10), ((28, 28), (64, 64), (40, 168))
MOST_CSV = 100_000
"""Rows of the largest pixel CSV: it is ten times as large as the array."""
STAGES = ("read", "read again", "folds", "train", "ensemble", "submit", "report")


@dataclass(frozen=True)
class Case:
    """One size of work.

    Attributes:
        axis: what varies.
        rows: of training images, and as many of test images.
        format: of the input files.
    """

    axis: Axis
    rows: int
    members: int = 5
    folds: int = 5
    height: int = SIDE
    width: int = SIDE
    format: Literal["npy", "pixel_csv"] = "npy"

    @property
    def size(self) -> int:
        """The number that varies."""
        sizes = {"members": self.members, "folds": self.folds, "image": self.height * self.width}
        return sizes.get(self.axis, self.rows)

    @property
    def title(self) -> str:
        image = f"{self.height} x {self.width}"
        members = counted(self.members, "member")
        return f"{self.rows:,} rows, {members}, {self.folds} folds, {image}, {self.format}"


def cases(rows: Sequence[int], only: Axis | None = None) -> list[Case]:
    """Every size of work, each once per axis; `rows` ascend."""
    base, most = Case("rows", rows[len(rows) // 2]), Case("most", rows[-1], max(MEMBERS))
    found = [replace(base, rows=count) for count in rows]
    found += [replace(base, rows=count, format="pixel_csv") for count in rows if count <= MOST_CSV]
    found += [replace(base, axis="members", members=count) for count in MEMBERS]
    found += [replace(base, axis="folds", folds=count) for count in FOLDS]
    found += [replace(base, axis="image", height=height, width=width) for height, width in IMAGES]
    return [case for case in [*found, most] if only in (None, case.axis)]
