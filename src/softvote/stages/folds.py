"""Folds: from the training images and labels to `folds.csv`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from softvote.data import folds
from softvote.data.dataset import read_dataset
from softvote.data.duplicates import near_identical_groups
from softvote.stages import Run
from softvote.stages.plan import inputs_of_folds


@dataclass(frozen=True)
class FoldsResult:
    """The fold table of a pipeline.

    Attributes:
        made: whether it was made now; otherwise it was there, and the rest is not known.
        rows: how many it has.
        twins: images that stay with one that is nearly identical.
        rare: classes with fewer rows than folds, and how many they have.
    """

    path: Path
    made: bool
    rows: int = 0
    folds: int = 0
    twins: int = 0
    rare: tuple[tuple[str, int], ...] = ()

    def __str__(self) -> str:
        if not self.made:
            return f"folds: {self.path} is there and unchanged"
        kept = f"{self.twins} near-identical images kept together"
        lines = [f"folds: {self.rows:,} rows in {self.folds} folds, {kept}"]
        if self.rare:
            named = ", ".join(f"{name} ({count})" for name, count in self.rare)
            lines.append(f"note: fewer rows than folds in class {named}; not every fold holds them")
        return "\n".join([*lines, f"wrote {self.path}"])


def run(run: Run) -> FoldsResult:
    """Write the fold table, once.

    Raises:
        UserError: the table on disk belongs to other data, or the data cannot be split.
    """
    competition, spec = run.pipeline.competition, run.pipeline.folds
    dataset = read_dataset(competition, run.workspace)
    inputs = inputs_of_folds(run, dataset)
    if folds.up_to_date(run.folder, inputs):
        return FoldsResult(run.folder.folds, made=False)
    groups = near_identical_groups(dataset.train_pixels, spec.near_identical)
    assigned = folds.split(dataset.train_labels, groups, spec, run.pipeline.seed)
    folds.write_folds(run.folder, dataset.train_labels, assigned, inputs)
    twins = len(groups) - int(groups.max()) - 1
    rare = _rare_classes(competition.classes, dataset.train_labels, spec.count)
    return FoldsResult(run.folder.folds, True, len(groups), spec.count, twins, rare)


def _rare_classes(classes: list[str], labels: NDArray[np.int64], count: int) -> tuple[tuple[str, int], ...]:
    rows = np.bincount(labels, minlength=len(classes)).tolist()
    return tuple((name, n) for name, n in zip(classes, rows, strict=True) if n < count)
