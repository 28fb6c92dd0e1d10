"""Folds: from the training images and labels to `folds.csv`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from softvote.data import folds
from softvote.data.dataset import read_dataset
from softvote.data.duplicates import near_identical_groups
from softvote.data.splitting import split
from softvote.stages import Run
from softvote.stages.plan import inputs_of_folds
from softvote.words import counted


@dataclass(frozen=True)
class FoldsResult:
    """The fold table of a pipeline.

    Attributes:
        made: whether it was made now; otherwise it was there, and the rest is not known.
        rows: how many it has.
        twins: images that stay with one that is nearly identical.
        rare: classes, tags and classes of targets with fewer rows than folds, and how many they have.
        grouped: how many groups stay together, by which column; empty without one.
        given: the column that gives the folds; empty where they are made.
        parted: of nearly identical images those that given folds part.
    """

    path: Path
    made: bool
    rows: int = 0
    folds: int = 0
    twins: int = 0
    rare: tuple[tuple[str, int], ...] = ()
    grouped: str = ""
    given: str = ""
    parted: int = 0

    def __str__(self) -> str:
        if not self.made:
            return f"folds: {self.path} is there and unchanged"
        kept = f"{counted(self.twins, 'near-identical image')} kept together"
        if self.grouped:
            kept = f"{self.grouped} and {kept}"
        if self.given:
            kept = f"as column '{self.given}' gives them"
        lines = [f"folds: {counted(self.rows, 'row')} in {counted(self.folds, 'fold')}, {kept}"]
        if self.rare:
            named = ", ".join(f"{name} ({count})" for name, count in self.rare)
            lines.append(f"note: fewer rows than folds in class {named}; not every fold holds them")
        if self.parted:
            which = f"{counted(self.parted, 'image is', 'images are')} nearly identical to one"
            lines.append(f"note: {which} in another of the given folds; scores flatter")
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
        folds.remember_source(run.folder, inputs)
        return FoldsResult(run.folder.folds, made=False)
    twins = near_identical_groups(dataset.train_pixels, spec.near_identical)
    labels, task, columns = dataset.train_labels, competition.task, dataset.train_groups
    assigned = split(labels, twins, spec, run.pipeline.seed, task, columns)
    folds.write_folds(run.folder, labels, assigned, inputs)
    return FoldsResult(
        path=run.folder.folds,
        made=True,
        rows=len(twins),
        folds=spec.count,
        twins=len(twins) - int(twins.max()) - 1,
        rare=_rare_names(competition.classes, task.columns(labels), spec.count),
        grouped=_describe_groups(columns[spec.group], spec.group) if spec.group else "",
        given=spec.column or "",
        parted=_count_parted(twins, assigned),
    )


def _rare_names(classes: list[str], shown: NDArray[np.bool_], count: int) -> tuple[tuple[str, int], ...]:
    """Names that fewer rows than folds show, of bool (N, K)."""
    rows = shown.sum(axis=0).tolist()
    return tuple((name, n) for name, n in zip(classes, rows, strict=True) if n < count)


def _describe_groups(texts: NDArray[np.str_], name: str) -> str:
    return f"{counted(len(np.unique(texts)), 'group')} of {name}"


def _count_parted(twins: NDArray[np.int64], folds: NDArray[np.int64]) -> int:
    """How many rows have a twin in another fold."""
    lowest, highest = (np.full(int(twins.max()) + 1, start) for start in (folds.max(), 0))
    np.minimum.at(lowest, twins, folds)
    np.maximum.at(highest, twins, folds)
    return int((lowest < highest)[twins].sum())
