"""Labelled 28 x 28 digits of any data set, a pixel CSV or a pair of `.npy` files.

For programs that make a competition from another's digits; a competition itself goes through `READERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from softvote.data.csv_table import read_table
from softvote.data.digit_layout import SIDE
from softvote.data.pixel_cells import pixel_values
from softvote.data.readers.base import look_up, quote
from softvote.data.readers.npy import load_array
from softvote.errors import ErrorCollector
from softvote.words import counted

LABEL = "label"
"""The label's column in a pixel CSV."""


_DIGIT_OF = {str(digit): digit for digit in range(10)}


class DigitImages(NamedTuple):
    """Images uint8 (N, 28, 28), 0..255, white on black, and labels int64 (N,), 0..9."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


def read_csv(path: Path, each: int = 1) -> DigitImages:
    """Digits of a CSV with the column `label` and 784 more, the pixels row by row.

    Args:
        each: so many images of every digit must be there.

    Raises:
        UserError: every problem of the file, one line each, with row and column.
    """
    _require(path)
    problems, table = ErrorCollector(), read_table(path)
    columns = [index for index, name in enumerate(table.header) if name != LABEL]
    if LABEL not in table.header:
        problems.add(f"{path}, row 1", f"no column '{LABEL}'", "give labelled digits, such as a train.csv")
    elif len(columns) != SIDE * SIDE:
        beside = f"{counted(len(columns), 'column')} beside '{LABEL}'"
        what = f"{beside}, but {SIDE} x {SIDE} digits have {SIDE * SIDE}"
        problems.add(f"{path}, row 1", what, "give other digits")
    problems.raise_any()
    cells = table.column(LABEL)
    labels = _labels(cells, lambda position: table.where(position, LABEL), problems)
    images = pixel_values(table, columns, problems).reshape(-1, SIDE, SIDE)
    _report_scarce(path, labels, each, problems)
    problems.raise_any()
    return DigitImages(images, labels)


def read_npy(images: Path, labels: Path, each: int = 1) -> DigitImages:
    """Digits of two arrays, images uint8 (N, 28, 28) and integer labels (N,).

    Args:
        each: so many images of every digit must be there.

    Raises:
        UserError: every problem of the files, one line each.
    """
    _require(images, labels)
    problems = ErrorCollector()
    pixels, numbers = load_array(images, problems), load_array(labels, problems)
    if pixels is not None and (pixels.dtype != np.uint8 or pixels.shape[1:] != (SIDE, SIDE)):
        found = f"holds {pixels.dtype} {pixels.shape}"
        problems.add(images, found, f"digits must be uint8 (N, {SIDE}, {SIDE}): give other digits")
    if numbers is not None and (numbers.dtype.kind not in "iu" or numbers.ndim != 1):
        found = f"holds {numbers.dtype} {numbers.shape}"
        problems.add(labels, found, f"labels must be integers (N,): give the labels of {images.name}")
    problems.raise_any()
    assert pixels is not None and numbers is not None, "a file that cannot be read has a problem"
    if len(pixels) != len(numbers):
        what = (
            f"has {counted(len(numbers), 'label')} for the {counted(len(pixels), 'image')} of {images.name}"
        )
        problems.add(labels, what, "pair the files")
    cells = [str(number) for number in numbers.tolist()]
    checked = _labels(cells, lambda position: f"{labels}, index {position}", problems)
    _report_scarce(labels, checked, each, problems)
    problems.raise_any()
    return DigitImages(pixels, checked)


def _require(*paths: Path) -> None:
    problems = ErrorCollector()
    for path in paths:
        if not path.is_file():
            problems.add(path, "no such file", "fix the path")
    problems.raise_any()


def _labels(cells: Sequence[str], where: Callable[[int], str], problems: ErrorCollector) -> NDArray[np.int64]:
    """int64 (N,) of labels as written; what is not a digit is noted and becomes 0."""

    def wrong(text: str) -> str:
        found = f"{quote(text)} is not a digit" if text else "is empty"
        return f"{found}; write the label as 0..9, or drop the image"

    return look_up(cells, _DIGIT_OF, wrong, where, problems)


def _report_scarce(path: Path, labels: NDArray[np.int64], each: int, problems: ErrorCollector) -> None:
    """Note digits with fewer images than `each`; counts mean nothing where labels are wrong already."""
    counts = np.bincount(labels, minlength=10).tolist()
    scarce = [f"{count} of {digit}" for digit, count in enumerate(counts) if count < each]
    if scarce and not problems:
        what = f"too few digits, images {', '.join(scarce)}"
        problems.add(path, what, f"give at least {each} of each digit 0..9")
