"""How far off a number is, where labels are numbers or stand in an order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from softvote.metrics.evaluation import score_of_mean
from softvote.metrics.scores import Score, proportion
from softvote.reporting.report.blocks import Block, Cell, DataTable, Gallery, Paragraph
from softvote.reporting.report.charts import draw_histograms, draw_quantiles
from softvote.reporting.report.section import ReportData, needs_members, section
from softvote.words import counted

_PICTURES = 24
_QUANTILES = (0.1, 0.5, 0.9)


def needs_numbers(data: ReportData) -> str:
    """For sections that take the difference of two labels."""
    is_number = data.task.kind == "ordered" or data.task.is_of_sums
    return "" if is_number else "it is for labels that are numbers or stand in an order"


@section(
    "numbers",
    "Predicted against true",
    "How far off is it, in which direction, and on which images most?",
    needs_members,
    needs_numbers,
    rank=35,
)
def build_numbers(data: ReportData) -> Sequence[Block]:
    """Build predicted against true values, residuals, errors by voter and fold, and the largest ones."""
    values = _values(data.classes)
    true, expected = values[data.labels], data.oof.astype(np.float64) @ values
    residual = expected - true
    shown, unit = data.shown[0], "label" if _are_numbers(data.classes) else "place of the label, from 0"
    places = np.unique(true)
    quantiles = np.stack([np.quantile(expected[true == place], _QUANTILES) for place in places], axis=1)
    widest = max(1e-6, float(np.abs(residual).max()))
    largest = np.argsort(-np.abs(residual), kind="stable")[:_PICTURES]
    cards = [
        data.create_card(int(position), bool(data.answers[position] == data.labels[position]))
        for position in largest
    ]
    note = (
        "The expected label is the mean of all labels by their probabilities. ± is one standard error. "
        "Expected less true: above 0 it says too much."
    )
    return [
        draw_quantiles(
            f"Expected label of {shown}", places, quantiles, (f"true {unit}", "median, 10 to 90 %")
        ),
        draw_histograms(
            f"Residuals of {shown}", {"residual": residual}, "expected less true", (-widest, widest), "rows"
        ),
        _list_voters(data, values),
        Paragraph(note, "note"),
        _list_folds(data, values),
        Gallery(
            cards, f"Largest errors of the expected label: {len(cards)} of {counted(len(residual), 'row')}"
        ),
    ]


def _are_numbers(classes: Sequence[str]) -> bool:
    try:
        found = [float(name) for name in classes]
    except ValueError:
        return False
    return bool(np.isfinite(found).all() and (np.diff(found) > 0).all())


def _values(classes: Sequence[str]) -> NDArray[np.float64]:
    """The labels as numbers where all of them are, ascending; else their places from 0."""
    if _are_numbers(classes):
        return np.array([float(name) for name in classes])
    return np.arange(len(classes), dtype=np.float64)


def _list_voters(data: ReportData, values: NDArray[np.float64]) -> DataTable:
    rows: list[list[Cell | str]] = []
    groups = data.row_scorer.groups
    for name, oof in data.voters.items():
        true = values[data.labels]
        residual = oof.astype(np.float64) @ values - true
        off = np.abs(residual)
        rows.append(
            [
                name,
                *(_show(score_of_mean(each, groups)) for each in (residual, off, residual**2)),
                *(_show(_score_share(off <= most, groups)) for most in (0.5, 1.5)),
            ]
        )
    header = ["voter", "mean residual", "mean absolute error", "squared error", "off by ≤ 0.5"]
    return DataTable([*header, "off by ≤ 1.5"], rows, "Errors of the expected label")


def _score_share(right: NDArray[np.bool_], groups: NDArray[np.integer] | None) -> Score:
    """The share of rows; without groups its error is that of a proportion, never 0 where all are right."""
    if groups is None:
        return proportion(right)
    return score_of_mean(right.astype(np.float64), groups, percent=True)


def _show(score: Score) -> Cell:
    return Cell(str(score), score.value)


def _list_folds(data: ReportData, values: NDArray[np.float64]) -> DataTable:
    folds = sorted(set(data.fold_of_row.tolist()))
    rows: list[list[Cell | str]] = []
    for name, oof in data.voters.items():
        off = np.abs(oof.astype(np.float64) @ values - values[data.labels])
        cells: list[Cell | str] = [name]
        for fold in folds:
            own = np.flatnonzero(data.fold_of_row == fold)
            score = score_of_mean(off[own], data.row_scorer.for_rows(own).groups)
            cells.append(_show(score))
        rows.append(cells)
    return DataTable(["voter", *(f"fold {fold}" for fold in folds)], rows, "Mean absolute error by fold")
