"""The names of classes where a column of a competition's table says them."""

from __future__ import annotations

from pathlib import Path

from softvote.data.csv_table import open_table
from softvote.errors import ErrorCollector, UserError
from softvote.words import counted


def read_label_names(path: Path, column: str) -> list[str] | None:
    """The different cells of a column: integers by their value, else by their text.

    Returns:
        None where there is no such file yet.

    Raises:
        UserError: it cannot be read, or has no such column, or fewer than two different cells there.
    """
    if not path.is_file():
        return None
    problems = ErrorCollector()
    table = open_table(path, problems)
    if table is None or not table.has(column, problems):
        problems.raise_any()
        raise AssertionError("a table that cannot be used has a problem")
    names = sorted(set(table.column(column)) - {""})
    if len(names) < 2:
        what = f"column {column} holds {counted(len(names), 'label')}"
        raise UserError.at(path, what, "name the column of labels in competition.labels")
    if all(name.isascii() and name.removeprefix("-").isdecimal() for name in names):
        return sorted(names, key=lambda name: (int(name), name))
    return names
