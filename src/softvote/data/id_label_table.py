"""Files of two columns, id and label: the sample submission, a submission, a solution."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from softvote.data.csv_table import Table, open_table
from softvote.data.readers.base import report_duplicates
from softvote.errors import ErrorCollector


@dataclass(frozen=True)
class IdLabelTable:
    """A file with an id and a label per row; ids are unique, labels are whatever is written."""

    table: Table
    ids: list[str]
    labels: list[str]

    @property
    def header(self) -> tuple[str, str]:
        """Names of the columns of ids and of labels."""
        return self.table.header[0], self.table.header[1]

    def where(self, position: int, column: int) -> str:
        """The place of a cell, for messages; column 0 holds ids, 1 labels."""
        return self.table.where(position, self.table.header[column])


def read_id_label_table(path: Path) -> IdLabelTable:
    """Read a file of ids and labels.

    Raises:
        UserError: it has not exactly two columns, or ids that are empty or stand twice, one line each.
    """
    problems = ErrorCollector()
    table = open_table(path, problems)
    if table and len(table.header) != 2:
        count, names = len(table.header), ", ".join(table.header[:8])
        problems.add(f"{path}, row 1", f"has {count} columns ({names})", "it must have two, id and label")
    problems.raise_any()
    assert table, "a file that cannot be read has a problem"
    id_name, label_name = table.header
    form = IdLabelTable(table, table.column(id_name), table.column(label_name))
    report_duplicates(form.ids, lambda position: form.where(position, 0), problems)
    problems.raise_any()
    return form
