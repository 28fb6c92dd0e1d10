"""Digits: a picture of the hidden digits that a member found in images it was not trained on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from softvote.data.dataset import Dataset
from softvote.errors import UserError, one_of
from softvote.reporting.plots import Reading, plot_digit_readings
from softvote.scheduling.job import REFIT
from softvote.seeds import derive_seed
from softvote.stages import Run
from softvote.stages.pictures import Picture
from softvote.stages.plan import Plan, make_plan
from softvote.words import counted

if TYPE_CHECKING:
    from softvote.inference.predictor import Predictor

_RIGHT = 18
_WRONG = 18
_COLUMNS = 4


def run(run: Run, member_name: str | None = None) -> Picture:
    """Draw images whose sum is right, and the surest of those whose sum is wrong, with the digits found.

    Raises:
        UserError: no such member, one whose head finds no digits, or one that is not trained.
    """
    members = run.pipeline.members
    readers = [name for name in members if members[name].head == "digits"]
    if not readers:
        raise UserError.at(run.name, "no member has head: digits, so none says which digits it found")
    name = member_name or readers[0]
    if name not in readers:
        raise UserError.at("`member`", f"no member '{name}' with head: digits", one_of(readers, name))
    plan = make_plan(run)
    predictions, dataset = plan.predictions(name), plan.dataset
    labels, guesses = dataset.train_labels[predictions.rows], predictions.oof.argmax(axis=1)
    right, wrong = np.flatnonzero(guesses == labels), np.flatnonzero(guesses != labels)
    random = np.random.default_rng(derive_seed(run.pipeline.seed, "digits"))
    some = np.sort(random.permutation(right)[:_RIGHT])
    surest = wrong[np.argsort(-predictions.oof[wrong, guesses[wrong]], kind="stable")][:_WRONG]
    rows = predictions.rows[np.concatenate([some, surest])]
    heading = (
        f"{run.name}, {name}: {len(right):,} of {counted(len(labels), 'sum')} right out of fold; "
        f"{len(some)} of them, and the surest {counted(len(surest), 'mistake')}"
    )
    path = run.folder.predictions(name).digits
    named = {row: int(guess) for row, guess in zip(predictions.rows.tolist(), guesses, strict=True)}
    readings = [
        _read(predictor, dataset, row, named[row]) for row, predictor in _predictors(plan, name, rows)
    ]
    plot_digit_readings(path, readings, _COLUMNS, heading)
    return Picture(path)


def _predictors(plan: Plan, name: str, rows: NDArray[np.int64]) -> Iterator[tuple[int, Predictor]]:
    """Each row, and the predictor that was not trained on it."""
    from softvote.inference.loading import load_predictor

    # Of repeats, one is looked at, and none that was trained on the row.
    first = [job for job in plan.jobs_of(name) if job.repeat == 0 and job.fold != REFIT]
    predictors = {job.fold: load_predictor(job.folder) for job in first}
    for row in rows.tolist():
        yield row, predictors[int(plan.folds[row])]


def _read(predictor: Predictor, dataset: Dataset, row: int, named: int) -> Reading:
    """The digits that were found, each the likeliest; the likeliest sum, `named`, may be another."""
    from softvote.heads.digits import DIGITS

    image = dataset.train_pixels[np.array([row])]
    outputs = predictor.outputs(image, _addends(dataset, row))
    digits = outputs.reshape(-1, DIGITS).argmax(axis=1).tolist()
    if dataset.train_addends is not None:
        digits.append(int(dataset.train_addends[row]))
    label = int(dataset.train_labels[row])
    text = f"{row}: {' + '.join(map(str, digits))} = {sum(digits)}"
    text += "" if sum(digits) == named else f", taken for {named}"
    text += "" if named == label else f", not {label}"
    attention = predictor.attention(image)
    return Reading(image[0], text, named == label, None if attention is None else attention[0])


def _addends(dataset: Dataset, row: int) -> NDArray[np.int64] | None:
    return None if dataset.train_addends is None else dataset.train_addends[[row]]
