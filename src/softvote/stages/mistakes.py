"""Mistakes: a picture of the out-of-fold images that a voter gets wrong, the surest first."""

from __future__ import annotations

import numpy as np

from softvote.data.dataset import Dataset
from softvote.reporting.plots import image_grid
from softvote.stages import Run
from softvote.stages.pictures import Picture
from softvote.stages.plan import make_plan

_COLUMNS = 12  # of square images
_MOST = 60


def run(run: Run, voter: str | None = None) -> Picture:
    """Draw them, each with its row, its addend where it has one, what it was taken for, and its true label.

    Raises:
        UserError: no such voter, or one without predictions.
    """
    name = run.resolve_name(voter)
    plan = make_plan(run)
    predictions, dataset = plan.predictions(name), plan.dataset
    folder, classes = run.folder.predictions(name), run.pipeline.competition.classes
    labels, guesses = dataset.train_labels[predictions.rows], predictions.oof.argmax(axis=1)
    wrong = np.flatnonzero(guesses != labels)
    if len(wrong) == 0:
        return Picture(None, f"{name}: no mistakes in {len(labels):,} rows")
    surest = wrong[np.argsort(-predictions.oof[wrong, guesses[wrong]], kind="stable")][:_MOST]
    image = run.pipeline.competition.image
    columns = max(3, min(_COLUMNS, round(_COLUMNS * image.height / image.width)))
    lines = [surest[start : start + columns] for start in range(0, len(surest), columns)]
    pixels = [dataset.train_pixels[predictions.rows[line]] for line in lines]
    titles = [
        [
            f"{_name(dataset, predictions.rows[i])}{classes[guesses[i]]}, not {classes[labels[i]]}"
            for i in line
        ]
        for line in lines
    ]
    heading = (
        f"{run.name}, {name}: {len(surest)} of {len(wrong)} mistakes in {len(labels):,} rows, surest first"
    )
    image_grid(folder.mistakes, pixels, titles, heading)
    return Picture(folder.mistakes)


def _name(dataset: Dataset, row: int) -> str:
    """What stands before the labels: the row, and the integer that is added to what the image shows."""
    return f"{row}: " if dataset.train_addends is None else f"{row}, + {dataset.train_addends[row]}\n"
