"""Corrections of training labels, row by row, from a file that a person looked through."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from softvote.config.competition import Competition
from softvote.data.csv_table import Table, open_table
from softvote.data.readers.base import class_indices, look_up, quote, report_impossible_sums
from softvote.errors import MOST_OF_A_KIND, ErrorCollector, one_of
from softvote.task import TaskKind

_ASKED: dict[TaskKind, str] = {"tags": "tag", "targets": "target"}


def correction_columns(kind: TaskKind) -> tuple[str, ...]:
    """Columns of a file of corrections.

    A row of the train file from 0; of several tags or targets which of them; its label as given, and the
    right one, where a label of a tag is 0 or 1.
    """
    return ("row", *([_ASKED[kind]] if kind in _ASKED else []), "label", "corrected")


def correct_labels(
    labels: NDArray[np.int64], addends: NDArray[np.int64] | None, competition: Competition, path: Path
) -> NDArray[np.int64]:
    """The labels with those corrected that a file names; further columns of it mean nothing.

    The file repeats every label that it corrects: one that was made for other rows is found out.

    Args:
        labels: int64 (N,), of tags (N, K), of targets (N, T), as given.
        addends: int64 (N,), where labels are sums with them.

    Returns:
        int64 of the same shape.

    Raises:
        UserError: every problem of the file, one line each.
    """
    problems = ErrorCollector()
    table, columns = open_table(path, problems), correction_columns(competition.task.kind)
    missing = [name for name in columns if table and not table.has(name, problems)]
    problems.raise_any()
    assert table and not missing, "what cannot be read has a problem"
    asked = _read_asked(table, competition, problems)
    given, corrected = (_read_labels(table, name, asked, competition, problems) for name in columns[-2:])
    rows = _read_rows(table, asked, len(labels), problems)
    place = (rows,) if competition.task.is_single_label else (rows, asked)
    told = {problem.where for problem in problems.problems}
    sound = _sound_lines(table, [name for name in columns if name != "corrected"], told)
    for position in sound[(labels[place] != given)[sound]][:MOST_OF_A_KIND].tolist():
        here = _names_of(competition, int(asked[position]))[labels[place][position]]
        what = f"label {table.column('label')[position]}, but the row's is {here}"
        problems.add(table.where(position, "label"), what, "take the file of these training rows")
    if addends is not None:
        sound = _sound_lines(table, ("row", "corrected"), told)

        def where(position: int) -> str:
            return table.where(int(sound[position]), "corrected")

        report_impossible_sums(corrected[sound], addends[rows[sound]], competition, where, problems)
    problems.raise_any()
    result = labels.copy()
    result[place] = corrected
    return result


def _sound_lines(table: Table, columns: Sequence[str], told: Collection[str]) -> NDArray[np.int64]:
    """Lines, int64 (n,), of whose cells in these columns nothing was told yet."""
    lines = range(len(table.records))
    sound = [line for line in lines if not any(table.where(line, name) in told for name in columns)]
    return np.array(sound, np.int64)


def _names_of(competition: Competition, asked: int) -> list[str]:
    """The labels that a class, a tag or a target can have, as they are written."""
    if competition.task.kind == "tags":
        return ["0", "1"]
    space = competition.label_space
    return list(space.targets[asked][1]) if space.targets else competition.classes


def _places(table: Table, column: str) -> Callable[[int], str]:
    return lambda position: table.where(position, column)


def _read_asked(table: Table, competition: Competition, problems: ErrorCollector) -> NDArray[np.int64]:
    """Which tag or target each line corrects, int64 (n,); 0 where there is one label per image."""
    column = _ASKED.get(competition.task.kind)
    if column is None:
        return np.zeros(len(table.records), np.int64)
    names = list(competition.label_space.target_names)

    def wrong(text: str) -> str:
        return f"{quote(text)} is not a {column}; {one_of(names, text)}"

    known = {name: place for place, name in enumerate(names)}
    return look_up(table.column(column), known, wrong, _places(table, column), problems)


def _read_labels(
    table: Table, column: str, asked: NDArray[np.int64], competition: Competition, problems: ErrorCollector
) -> NDArray[np.int64]:
    """Labels int64 (n,) of a column, each of what is asked in its line."""
    cells, where, found = table.column(column), _places(table, column), np.zeros(len(asked), np.int64)
    if competition.task.kind == "tags":
        return look_up(
            cells, {"0": 0, "1": 1}, lambda text: f"{quote(text)} is neither 0 nor 1", where, problems
        )
    several = not competition.task.is_single_label
    for target in np.unique(asked).tolist():
        lines = np.flatnonzero(asked == target).tolist()
        some = [cells[line] for line in lines]

        def place(position: int, lines: list[int] = lines) -> str:
            return where(lines[position])

        names = _names_of(competition, target) if several else ()
        found[lines] = class_indices(some, competition, place, problems, names)
    return found


def _read_rows(
    table: Table, asked: NDArray[np.int64], count: int, problems: ErrorCollector
) -> NDArray[np.int64]:
    """Row numbers int64 (n,); those that are none become 0, and they or what stands twice are noted."""
    rows, seen = [], dict[tuple[int, int], int]()
    for position, text in enumerate(table.column("row")):
        row = int(text) if text.isascii() and text.isdecimal() else -1
        where, key = table.where(position, "row"), (row, int(asked[position]))
        if not 0 <= row < count:
            problems.add(where, f"{quote(text)} is not a row in 0..{count - 1}", "count training rows from 0")
        elif key in seen:
            problems.add(where, f"row {row} is already in line {seen[key]}", "drop one")
        seen[key] = table.records[position].row
        rows.append(row if 0 <= row < count else 0)
    return np.array(rows, np.int64).reshape(-1)
