"""Folds: from the training images and labels to `folds.csv`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from softvote.data import folds
from softvote.data.dataset import read_dataset
from softvote.data.duplicates import near_identical_groups
from softvote.stages import Run
from softvote.stages.plan import inputs_of_folds


def run(run: Run) -> None:
    """Write the fold table, once.

    Raises:
        UserError: the table on disk belongs to other data, or the data cannot be split.
    """
    competition, spec = run.pipeline.competition, run.pipeline.folds
    dataset = read_dataset(competition, run.workspace)
    inputs = inputs_of_folds(run, dataset)
    if folds.up_to_date(run.folder, inputs):
        print(f"folds: {run.folder.folds} is there and unchanged")
        return
    groups = near_identical_groups(dataset.train_pixels, spec.near_identical)
    assigned = folds.split(dataset.train_labels, groups, spec, run.pipeline.seed)
    folds.write_folds(run.folder, dataset.train_labels, assigned, inputs)
    twins = len(groups) - int(groups.max()) - 1
    print(f"folds: {len(groups):,} rows in {spec.count} folds, {twins} near-identical images kept together")
    _tell_rare_classes(competition.classes, dataset.train_labels, spec.count)
    print(f"wrote {run.folder.folds}")


def _tell_rare_classes(classes: list[str], labels: NDArray[np.int64], count: int) -> None:
    rows = np.bincount(labels, minlength=len(classes))
    rare = [f"{name} ({n})" for name, n in zip(classes, rows, strict=True) if n < count]
    if rare:
        print(f"note: fewer rows than folds in class {', '.join(rare)}; not every fold holds them")
