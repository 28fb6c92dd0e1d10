"""CSV files as lines that have as many cells as the header: what is not so is noted, never guessed.

Parsers of tables take ragged rows for missing values or for an index; so cells are counted first.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from softvote.errors import ErrorCollector, cell, one_of
from softvote.storage.files import read_bytes
from softvote.words import counted


class CsvLine(NamedTuple):
    """One row: the line it starts in (from 1, header included), its cells' number, its text."""

    row: int
    width: int
    text: str


@dataclass(frozen=True)
class Table:
    """A CSV file whose records all have one cell per column."""

    path: Path
    header: list[str]
    records: list[CsvLine]

    def where(self, position: int, column: str) -> str:
        """The place of a record's cell, for messages."""
        return cell(self.path, self.records[position].row, column)

    def has(self, column: str, problems: ErrorCollector) -> bool:
        """Whether there is such a column; noted if not."""
        if column in self.header:
            return True
        problems.add(f"{self.path}, row 1", f"no column '{column}'", _columns(self.header, column))
        return False

    def column(self, column: str) -> list[str]:
        """A column's cells, without the space around them."""
        index = self.header.index(column)
        return [_cell_of(record.text, index).strip() for record in self.records]


def open_table(
    path: Path,
    problems: ErrorCollector,
    has_header: bool = True,
    keep_ragged: bool = False,
    may_be_empty: bool = False,
) -> Table | None:
    """Read a CSV file in UTF-8, with or without BOM, quotes and CRLF.

    Args:
        has_header: whether the first row names the columns; else their names are 0, 1, ...
        keep_ragged: for those who need the place of every row, and look at each one's width.
        may_be_empty: whether a header will do.

    Returns:
        The table, without its ragged rows where they are not kept; they are noted. None where there is
        nothing to read on with.
    """
    text = _utf8(path, problems)
    if text is None:
        return None
    try:
        header, records = _records(text)
        if not has_header and header:
            first = CsvLine(1, len(header), ",".join(header))
            header, records = [str(index) for index in range(len(header))], [first, *records]
    except csv.Error as error:
        problems.add(path, f"is not CSV ({error})", "fix its quotes")
        return None
    if not records and not (header and may_be_empty):
        problems.add(path, f"has {('a header but no rows' if header else 'no content')}", "download it again")
        return None
    if len(header) == 1 and (separator := next((sign for sign in ";\t|" if sign in header[0]), None)):
        problems.add(f"{path}, row 1", f"separates columns with {separator!r}", "save the file with commas")
        return None
    _report_repeated_names(path, header, problems)
    whole = _drop_ragged(path, len(header), records, problems)
    return Table(path, header, records if keep_ragged else whole)


def table_of(path: Path, columns: Mapping[str, Sequence[str]]) -> Table:
    """Columns that another kind of file holds, as a table; rows are counted as if it had a header."""
    records = []
    for row, cells in enumerate(zip(*columns.values(), strict=True), 2):
        line = io.StringIO()
        csv.writer(line, lineterminator="\r\n").writerow(cells)
        records.append(CsvLine(row, len(cells), line.getvalue().removesuffix("\r\n")))
    return Table(path, list(columns), records)


def _utf8(path: Path, problems: ErrorCollector) -> str | None:
    data = read_bytes(path)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start) + 1
        problems.add(
            f"{path}, row {row}", f"byte 0x{data[error.start]:02x} is not UTF-8", "save the file as UTF-8"
        )
        return None
    if (place := text.find("\0")) >= 0:
        row = text.count("\n", 0, place) + 1
        problems.add(f"{path}, row {row}", "holds a NUL character, which no text does", "download it again")
        return None
    return text


def read_table(path: Path) -> Table:
    """Read a CSV file as `open_table` does, all of it or nothing.

    Raises:
        UserError: every problem of the file, one line each.
    """
    problems = ErrorCollector()
    table = open_table(path, problems)
    problems.raise_any()
    assert table, "a file that cannot be read has a problem"
    return table


def _records(text: str) -> tuple[list[str], list[CsvLine]]:
    """The header's names, and every row that is not blank."""
    quotes_in_header = text.count('"', 0, text.find("\n"))
    if text.count('"') > quotes_in_header:
        records = _parse_quoted(text)
    else:
        lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        records = [
            CsvLine(row, line.count(",") + 1, line) for row, line in enumerate(lines, 1) if line.strip()
        ]
    names = next(csv.reader([record.text for record in records[:1]]), [])
    return [name.strip() for name in names], records[1:]


def _parse_quoted(text: str) -> list[CsvLine]:
    """Rows of a file that quotes cells, written anew; cells may then hold commas and line ends."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    records, row = [], 1
    for cells in reader:
        if any(value.strip() for value in cells) or len(cells) > 1:
            line = io.StringIO()
            # The writer quotes line ends inside a cell only where they are its own.
            csv.writer(line, lineterminator="\r\n").writerow(cells)
            records.append(CsvLine(row, len(cells), line.getvalue().removesuffix("\r\n")))
        row = reader.line_num + 1
    return records


def _drop_ragged(path: Path, width: int, records: list[CsvLine], problems: ErrorCollector) -> list[CsvLine]:
    last = records[-1] if records else None
    for record in records:
        if record.width == width:
            continue
        cut_off = record is last and record.width < width
        fix = "the file looks truncated: download it again" if cut_off else "fix or drop the row"
        problems.add(
            f"{path}, row {record.row}", f"has {counted(record.width, 'cell')}, the header has {width}", fix
        )
        if len(problems) > 1000:
            break
    return [record for record in records if record.width == width]


def _report_repeated_names(path: Path, header: list[str], problems: ErrorCollector) -> None:
    first: dict[str, int] = {}
    if len(set(header)) < len(header) and all(name.replace(".", "", 1).isdecimal() for name in header):
        what = "holds only numbers where the column names should be"
        problems.add(f"{path}, row 1", what, "add a header, or write files.has_header: false")
        return
    for number, name in enumerate(header, 1):
        before = first.setdefault(name, number)
        if before != number:
            where = cell(path, 1, name or number)
            problems.add(where, f"names columns {before} and {number} alike", "rename or drop one")


def _cell_of(text: str, index: int) -> str:
    if '"' in text:
        return next(csv.reader(io.StringIO(text, newline="")))[index]
    return text.split(",", index + 1)[index]


def _columns(header: list[str], wanted: str) -> str:
    """The columns there are, the likeliest first; hundreds of pixels are not spelled out."""
    hint = one_of(header, wanted).partition("known: ")[0]
    more = f", ... ({len(header)} in all)" if len(header) > 8 else ""
    return f"{hint}the file has {', '.join(header[:8])}{more}; fix the pipeline's competition.files"
