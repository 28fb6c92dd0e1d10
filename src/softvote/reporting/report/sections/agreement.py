"""How alike members are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from softvote.reporting.report.blocks import Block, Cell, DataTable, Paragraph
from softvote.reporting.report.section import ReportData, needs_two_members, section


@section(
    "agreement",
    "Agreement of members",
    "Do they make the same mistakes?",
    needs_two_members,
    rank=30,
)
def build_agreement(data: ReportData) -> Sequence[Block]:
    """Build the shares of equal answers, and the correlation of mistakes."""
    names = list(data.members)
    answers = np.stack([data.name_answers(name).reshape(-1) for name in names])
    wrong = answers != data.labels.reshape(-1)
    equal = np.array([(answers == each).mean(axis=1) for each in answers])
    what = {"tags": "tags of images", "targets": "targets of images"}.get(data.task.kind, "rows")
    note = (
        "Members whose mistakes are less correlated gain more from voting together. "
        f"All of them are wrong on {np.count_nonzero(wrong.all(axis=0)):,} {what}, "
        f"at least one is right on {np.count_nonzero(~wrong.all(axis=0)):,}."
    )
    if any(data.decision_of(name).fitted for name in names):
        note += " Each answers by what is fitted for it on these very rows."
    return [
        _matrix(names, _correlate(wrong), "Correlation of being wrong (phi)", "{:.2f}"),
        _matrix(names, equal, f"Share of {what} with the same answer", "{:.2%}"),
        Paragraph(note, "note"),
    ]


def _correlate(wrong: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Pearson's correlation (M, M) of bool (M, N); nan where a member is never or always wrong."""
    centred = wrong - wrong.mean(axis=1, keepdims=True)
    spread = np.sqrt((centred**2).sum(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(centred @ centred.T / np.outer(spread, spread))


def _matrix(names: list[str], values: NDArray[np.float64], caption: str, form: str) -> DataTable:
    """Equal members apart: the diagonal says nothing, and heat is spread over the others."""
    others = values[~np.eye(len(names), dtype=bool) & np.isfinite(values)]
    low, high = (float(others.min()), float(others.max())) if others.size else (0.0, 1.0)

    def cell(row: int, column: int) -> Cell | str:
        value = values[row, column]
        if row == column:
            return ""
        if not np.isfinite(value):
            return "–"
        return Cell(form.format(value), float(value), heat=float((value - low) / ((high - low) or 1)))

    rows = [[name, *(cell(row, column) for column in range(len(names)))] for row, name in enumerate(names)]
    return DataTable(["", *names], rows, caption, matrix=True)
