"""Cells of a table that are pixels: whole numbers 0..255, parsed in blocks of rows."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from softvote.data.csv_table import CsvLine, Table
from softvote.data.readers.base import quote
from softvote.errors import MOST_OF_A_KIND, ErrorCollector

if TYPE_CHECKING:
    import pandas as pd


_BLOCK = 4096  # rows parsed at once: the parser makes eight bytes of every pixel


WHOLE = re.compile(r"\+?[0-9]{1,9}")


def pixel_values(table: Table, columns: list[int], problems: ErrorCollector) -> NDArray[np.uint8]:
    """uint8 (N, pixels), in the order of `columns`; zeros where cells are bad, which are noted."""
    pixels = np.zeros((len(table.records), len(columns)), np.uint8)
    unclean = np.zeros(len(columns), bool)
    for start in range(0, len(pixels), _BLOCK):
        frame = _parse(table.records[start : start + _BLOCK], len(table.header), columns)
        clean = np.array([_is_clean(frame[index]) for index in columns])
        pixels[start : start + _BLOCK, clean] = frame.loc[:, clean]
        unclean |= ~clean
    for place in np.flatnonzero(unclean)[:MOST_OF_A_KIND].tolist():
        pixels[:, place] = _check_cells(table, columns[place], problems)
    more = np.count_nonzero(unclean) - MOST_OF_A_KIND
    if more > 0:
        problems.add(table.path, f"{more} more columns hold cells that are not integers 0..255")
    return pixels


def _is_clean(column: pd.Series[Any]) -> bool:
    return column.dtype == np.int64 and bool(column.between(0, 255).all())


def _parse(records: Sequence[CsvLine], width: int, columns: list[int]) -> pd.DataFrame:
    """These columns of rows of `width` cells, in this order and named by their index.

    Nothing is taken for a missing value.
    """
    import pandas as pd

    text = "\n".join(record.text for record in records)
    frame = pd.read_csv(
        io.StringIO(text),
        header=None,
        names=list(range(width)),
        usecols=columns,
        index_col=False,
        na_filter=False,
        skip_blank_lines=False,
        low_memory=False,
    )
    return frame if columns == sorted(columns) else frame[columns]


def _check_cells(table: Table, index: int, problems: ErrorCollector) -> list[int]:
    """A column cell by cell; bad cells are noted and become 0."""
    name = table.header[index]
    cells = table.column(name)
    whole = [bool(WHOLE.fullmatch(text)) and int(text) <= 255 for text in cells]
    for position in islice((place for place, good in enumerate(whole) if not good), MOST_OF_A_KIND):
        text = cells[position]
        found = f"{quote(text)} is not a whole number from 0 to 255" if text else "is empty"
        problems.add(table.where(position, name), found, "write the pixel as an integer 0..255")
    return [int(text) if good else 0 for text, good in zip(cells, whole, strict=True)]
