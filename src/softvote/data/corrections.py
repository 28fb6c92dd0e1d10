"""Corrections of training labels, row by row, from a file that a person looked through."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from softvote.config.competition import Competition
from softvote.data.csv_table import Table, open_table
from softvote.data.readers.base import class_indices, quote, report_impossible_sums
from softvote.errors import MOST_OF_A_KIND, ErrorCollector

CORRECTION_COLUMNS = ("row", "label", "corrected")
"""Columns of a file of corrections: a row of the train file from 0, its label as given, and the right one."""


def correct_labels(
    labels: NDArray[np.int64], addends: NDArray[np.int64] | None, competition: Competition, path: Path
) -> NDArray[np.int64]:
    """The labels with those corrected that a file names; further columns of it mean nothing.

    The file repeats every label that it corrects: one that was made for other rows is found out.

    Args:
        labels: int64 (N,), as given.
        addends: int64 (N,), where labels are sums with them.

    Returns:
        int64 (N,).

    Raises:
        UserError: every problem of the file, one line each.
    """
    problems = ErrorCollector()
    table = open_table(path, problems)
    missing = [name for name in CORRECTION_COLUMNS if table and not table.has(name, problems)]
    problems.raise_any()
    assert table and not missing, "what cannot be read has a problem"
    given, corrected = (
        class_indices(table.column(name), competition, _places(table, name), problems)
        for name in CORRECTION_COLUMNS[1:]
    )
    rows = _read_rows(table, len(labels), problems)
    problems.raise_any()
    for position in np.flatnonzero(labels[rows] != given)[:MOST_OF_A_KIND].tolist():
        here = competition.classes[labels[rows[position]]]
        what = f"label {table.column('label')[position]}, but the row's is {here}"
        problems.add(table.where(position, "label"), what, "take the file of these training rows")
    if addends is not None:
        where = _places(table, "corrected")
        report_impossible_sums(corrected, addends[rows], competition, where, problems)
    problems.raise_any()
    result = labels.copy()
    result[rows] = corrected
    return result


def _places(table: Table, column: str) -> Callable[[int], str]:
    return lambda position: table.where(position, column)


def _read_rows(table: Table, count: int, problems: ErrorCollector) -> NDArray[np.int64]:
    """Row numbers int64 (n,); those that are none, or stand twice, are noted."""
    rows, seen = [], dict[int, int]()
    for position, text in enumerate(table.column("row")):
        row = int(text) if text.isascii() and text.isdecimal() else -1
        where = table.where(position, "row")
        if not 0 <= row < count:
            problems.add(where, f"{quote(text)} is not a row in 0..{count - 1}", "count training rows from 0")
        elif row in seen:
            problems.add(where, f"row {row} is already in line {seen[row]}", "drop one")
        seen[row] = table.records[position].row
        rows.append(row)
    return np.array(rows, np.int64).reshape(-1)
