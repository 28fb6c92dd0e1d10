"""CSV files that the project keeps: read with every damaged cell named, written whole, by one at a time."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from softvote.errors import ErrorCollector, cell
from softvote.storage.files import write_text
from softvote.words import counted

CsvRecord = dict[str, str]


CellParser = Callable[[str], Any]


@dataclass(frozen=True)
class CsvSchema:
    """What a CSV file of ours holds.

    Attributes:
        readers: every column in its order, and what makes a value of its text or raises ValueError.
        remedy: what to do about a damaged file.
        newer: columns that files written before they were thought of have not; empty there.
    """

    readers: Mapping[str, CellParser]
    remedy: str
    newer: tuple[str, ...] = ()

    def read(self, path: Path) -> list[CsvRecord]:
        """The rows as text, every cell known to be readable; none where there is no file.

        Raises:
            UserError: the file is damaged: every problem with its row and column.
        """
        if not path.exists():
            return []
        lines, problems = list[tuple[int, list[str]]](), ErrorCollector()
        try:
            lines = list(_number_records(path.read_bytes().decode()))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            problems.add(path, f"cannot be read ({error})", self.remedy)
        else:
            self._check(lines, problems, path)
        problems.raise_any()
        missing = dict.fromkeys(set(self.readers) - set(lines[0][1]), "")
        return [missing | dict(zip(lines[0][1], texts, strict=True)) for _, texts in lines[1:]]

    def write(self, path: Path, records: Iterable[CsvRecord]) -> None:
        """Replace the file, whole or not at all.

        Raises:
            UserError: it cannot be written.
        """
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, list(self.readers), lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)
        write_text(path, buffer.getvalue())

    def values(self, record: CsvRecord) -> dict[str, Any]:
        """A record's texts as values.

        Raises:
            ValueError: a text that its column cannot hold.
        """
        return {column: read(record[column]) for column, read in self.readers.items()}

    def _check(self, lines: list[tuple[int, list[str]]], problems: ErrorCollector, path: Path) -> None:
        columns = list(self.readers)
        if lines:  # those that are there of the newer ones
            columns = [name for name in columns if name not in self.newer or name in lines[0][1]]
        if not lines or lines[0][1] != columns:
            problems.add(f"{path}, row 1", f"the header is not {','.join(columns)}", self.remedy)
            return
        for row, texts in lines[1:]:
            if len(texts) != len(columns):
                problems.add(
                    f"{path}, row {row}", f"{counted(len(texts), 'column')}, not {len(columns)}", self.remedy
                )
                continue
            for column, text in zip(columns, texts, strict=True):
                if not self._readable(column, text):
                    problems.add(cell(path, row, column), f"{text!r} cannot be read", self.remedy)

    def _readable(self, column: str, text: str) -> bool:
        try:
            self.readers[column](text)
        except ValueError:
            return False
        return True


def format_cell(value: object) -> str:
    """A value as a cell: nothing for None, true or false, six decimals, words of a tuple."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6f}"
    return " ".join(value) if isinstance(value, tuple) else str(value)


def parse_finite(text: str) -> float:
    """A number that is neither nan nor infinite.

    Raises:
        ValueError: it is none.
    """
    if not math.isfinite(float(text)):
        raise ValueError(text)
    return float(text)


def parse_bool(text: str) -> bool:
    """What `format_cell` wrote of a bool.

    Raises:
        ValueError: neither true nor false.
    """
    if text not in ("true", "false"):
        raise ValueError(text)
    return text == "true"


def optional(read: CellParser) -> CellParser:
    """A reader to which an empty cell is None."""
    return lambda text: read(text) if text else None


def _number_records(text: str) -> Iterator[tuple[int, list[str]]]:
    """Each record with the line of the file it begins in: a cell in quotes may hold several."""
    reader, row = csv.reader(io.StringIO(text, newline=""), strict=True), 1
    for texts in reader:
        yield row, texts
        row = reader.line_num + 1
