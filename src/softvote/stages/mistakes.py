"""Mistakes: a picture of the out-of-fold images that a voter gets wrong, the surest first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from softvote.data.dataset import Dataset
from softvote.reporting.plots import image_grid
from softvote.stages import Run
from softvote.stages.pictures import Picture
from softvote.stages.plan import Plan, make_plan, read_decision
from softvote.task import Task
from softvote.words import counted

_COLUMNS = 12  # of square images
_MOST = 60
_SPACE = "\N{NO-BREAK SPACE}"  # where a title is not broken


def run(run: Run, voter: str | None = None) -> Picture:
    """Draw them, each with its row, its addend where it has one, what it was taken for, and its true label.

    Raises:
        UserError: no such voter, or one without predictions.
    """
    name = run.resolve_name(voter)
    plan = make_plan(run)
    predictions, dataset = plan.predictions(name), plan.dataset
    folder, classes = run.folder.predictions(name), run.pipeline.competition.classes
    labels = plan.task.columns(dataset.train_labels[predictions.rows])
    guesses = plan.task.columns(_name_predictions(plan, name, predictions.oof))
    wrong = np.flatnonzero((guesses != labels).any(axis=1))
    if len(wrong) == 0:
        return Picture(None, f"{name}: no mistakes in {counted(len(labels), 'row')}")
    sureness = _sureness(predictions.oof, guesses, labels, plan.task)
    surest = wrong[np.argsort(-sureness[wrong], kind="stable")][:_MOST]
    image = run.pipeline.competition.image
    columns = max(3, min(_COLUMNS, round(_COLUMNS * image.height / image.width)))
    lines = [surest[start : start + columns] for start in range(0, len(surest), columns)]
    pixels = [dataset.train_pixels[predictions.rows[line]] for line in lines]
    titles = [
        [f"{_name(dataset, predictions.rows[i])}{_mistake(classes, guesses[i], labels[i])}" for i in line]
        for line in lines
    ]
    heading = (
        f"{run.name}, {name}: {len(surest)} of {counted(len(wrong), 'mistake')} "
        f"in {counted(len(labels), 'row')}, surest first: answer, not label"
    )
    image_grid(folder.mistakes, pixels, titles, heading)
    return Picture(folder.mistakes)


def _name_predictions(plan: Plan, voter: str, probabilities: NDArray[np.float32]) -> NDArray[np.integer]:
    """Name what would be submitted, as labels have it; where that is not a label, the most probable."""
    decision = read_decision(plan.run, voter)
    if decision.decision.makes != "labels":
        return plan.task.name(probabilities)
    return np.asarray(decision.decide(probabilities, plan.scorer.space), np.int64)


def _sureness(
    probabilities: NDArray[np.float32], guesses: NDArray[np.bool_], labels: NDArray[np.bool_], task: Task
) -> NDArray[np.float32]:
    """How sure the voter is of its worst mistake in each row, float32 (N,).

    That is the largest probability of a name that is wrong; of tags also that of the absence of one that is
    there.
    """
    surest = np.where(guesses & ~labels, probabilities, 0)
    if task.kind == "tags":
        surest = np.where(labels & ~guesses, 1 - probabilities, surest)
    found: NDArray[np.float32] = surest.max(axis=1)
    return found


def _mistake(classes: list[str], guessed: NDArray[np.bool_], right: NDArray[np.bool_]) -> str:
    """What an image was taken for and is not, and what it was not taken for and is, of bool (K,) each."""
    wrong, missed = (
        f" +{_SPACE}".join(classes[column] for column in np.flatnonzero(names))
        for names in (guessed & ~right, right & ~guessed)
    )
    return f"{wrong or 'nothing'}, not{_SPACE}{missed or 'that'}"


def _name(dataset: Dataset, row: int) -> str:
    """What stands before the labels: the row, and the integer that is added to what the image shows."""
    return f"{row}: " if dataset.train_addends is None else f"{row}, + {dataset.train_addends[row]}\n"
