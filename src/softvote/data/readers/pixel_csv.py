"""`pixel_csv`: one line an image, pixels row by row (of colour images red, green and blue each time)."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from softvote.config.registry import FilesConfig
from softvote.data.csv_table import CsvLine, Table, open_table
from softvote.data.readers.base import (
    MOST,
    READERS,
    Images,
    LazyImages,
    Reader,
    addends_of,
    class_indices,
    existing,
    report_duplicates,
    report_impossible_sums,
    shown,
)
from softvote.data.readers.detection import (
    ID_NAMES,
    Candidate,
    DetectedLayout,
    Size,
    first_file,
    label_column,
    read_table,
    train_csv_name,
)
from softvote.errors import ErrorCollector, UserError

if TYPE_CHECKING:
    import pandas as pd

    from softvote.config.competition import Competition
    from softvote.config.competition import Image as ImageFacts


_BLOCK = 4096  # rows parsed at once: the parser makes eight bytes of every pixel


WHOLE = re.compile(r"\+?[0-9]{1,9}")


class PixelCsv(FilesConfig):
    """One line per image: pixels row by row, a label column anywhere, perhaps an id column."""

    format: Literal["pixel_csv"]
    """`pixel_csv`: one line per image, pixels 0..255 row by row."""
    train: str = "train.csv"
    """CSV of the training rows, by its path in the competition's folder."""
    test: str = "test.csv"
    """CSV of the test rows, by its path in the competition's folder."""
    label: str = "label"
    """Name of the label's column in the train file."""
    id: str | None = None
    """Name of the id's column, where both files have one; else test rows are in sample_submission's order."""
    addend: str = "addend"
    """Name of the addend's column in both files, where `competition.addend` says that there is one."""

    @property
    def test_source(self) -> str:
        return self.test


def sources(competition: Competition, folder: Path) -> list[Path]:
    """Both tables and the sample submission."""
    files = _files(competition)
    return existing(competition, folder, [files.train, files.test])


def read(competition: Competition, folder: Path) -> tuple[Images, Images]:
    """Train images with labels, and test images; with ids where the pipeline names their column."""
    files, problems = _files(competition), ErrorCollector()
    tables = [open_table(folder / name, problems) for name in (files.train, files.test)]
    _report_other_order(tables, competition, problems)
    train, test = (
        _images(table, competition, labelled, problems) if table else None
        for table, labelled in zip(tables, (True, False), strict=True)
    )
    problems.raise_any()
    assert train and test, "a table without images has a problem"
    return train, test


def open_test(competition: Competition, folder: Path) -> LazyImages:
    """The rows of the test file; those of another length are left out."""
    files, problems = _files(competition), ErrorCollector()
    table = open_table(folder / files.test, problems)
    if table is None or not table.records:
        problems.raise_any()
    assert table, "a table that cannot be read has a problem"
    rows = table
    ids = rows.column(files.id) if files.id and files.id in rows.header else None

    def load(positions: Sequence[int]) -> tuple[Images, dict[int, str]]:
        def part(of: Sequence[int]) -> tuple[Images | None, str]:
            problems = ErrorCollector()
            some = replace(rows, records=[rows.records[position] for position in of])
            return _images(some, competition, False, problems), problems.first()

        images, problem = part(positions)
        if images and not problem:
            return images, {}
        each = [part([position])[1] for position in positions]
        image = competition.image
        black = np.zeros((len(positions), image.channels, image.height, image.width), np.uint8)
        addends = np.zeros(len(positions), np.int64) if competition.addend else None
        found = images or Images(black, addends=addends)
        return found, {place: problem for place, problem in enumerate(each) if problem}

    return LazyImages(len(rows.records), ids, load)


def _files(competition: Competition) -> PixelCsv:
    assert isinstance(competition.files, PixelCsv)
    return competition.files


def _pixel_columns(table: Table, competition: Competition) -> list[int]:
    files = _files(competition)
    others = (files.label, files.id, files.addend if competition.addend else None)
    return [index for index, name in enumerate(table.header) if name not in others]


def _report_other_order(
    tables: list[Table | None], competition: Competition, problems: ErrorCollector
) -> None:
    files = _files(competition)
    columns = [(table, _pixel_columns(table, competition)) for table in tables if table]
    names = [[table.header[index] for index in indices] for table, indices in columns]
    if len(names) == 2 and names[0] != names[1] and sorted(names[0]) == sorted(names[1]):
        column = next(test for train, test in zip(*names, strict=True) if train != test)
        assert tables[1]
        problems.add(
            f"{tables[1].path}, row 1, column {column}",
            f"the pixels stand in another order than in {files.train}",
            "order both alike",
        )


def _images(
    table: Table, competition: Competition, labelled: bool, problems: ErrorCollector
) -> Images | None:
    files, image = _files(competition), competition.image
    columns = _pixel_columns(table, competition)
    asked = ((files.label, labelled), (files.id, True), (files.addend, competition.addend))
    wanted = [name for name, needed in asked if name and needed]
    present = [table.has(name, problems) for name in wanted]
    if not all(present) or not _fits(table, len(columns), image, problems):
        return None
    labels = ids = addends = None
    if competition.addend:
        addends = addends_of(
            table.column(files.addend), lambda position: table.where(position, files.addend), problems
        )
    if labelled:
        labels = class_indices(
            table.column(files.label),
            competition,
            lambda position: table.where(position, files.label),
            problems,
        )
    if labels is not None and addends is not None and not problems:
        report_impossible_sums(
            labels, addends, competition, lambda position: table.where(position, files.label), problems
        )
    if files.id:
        name, ids = files.id, table.column(files.id)
        report_duplicates(ids, lambda position: table.where(position, name), problems)
    flat = pixel_values(table, columns, problems)
    shaped = flat.reshape(-1, image.height, image.width, image.channels)
    return Images(np.ascontiguousarray(shaped.transpose(0, 3, 1, 2)), labels, ids, addends)


def _fits(table: Table, count: int, image: ImageFacts, problems: ErrorCollector) -> bool:
    """Whether an image has as many pixels as the pipeline says; noted if not."""
    expected = image.height * image.width * image.channels
    if count == expected:
        return True
    size = f"{image.height} x {image.width} x {image.channels}"
    side, rest = math.isqrt(count // image.channels), count % image.channels
    fits = side**2 * image.channels == count and not rest
    fix = f"set image height and width to {side}" if fits else "mend image, or the label and id columns"
    problems.add(
        f"{table.path}, row 1", f"{count} pixel columns, but competition.image is {size} = {expected}", fix
    )
    return False


def pixel_values(table: Table, columns: list[int], problems: ErrorCollector) -> NDArray[np.uint8]:
    """uint8 (N, pixels); zeros where cells are bad, which are noted."""
    pixels = np.zeros((len(table.records), len(columns)), np.uint8)
    unclean = np.zeros(len(columns), bool)
    for start in range(0, len(pixels), _BLOCK):
        frame = _parse(table.records[start : start + _BLOCK], len(table.header), columns)
        clean = np.array([_is_clean(frame[index]) for index in columns])
        pixels[start : start + _BLOCK, clean] = frame.loc[:, clean]
        unclean |= ~clean
    for place in np.flatnonzero(unclean)[:MOST].tolist():
        pixels[:, place] = _checked_cells(table, columns[place], problems)
    more = np.count_nonzero(unclean) - MOST
    if more > 0:
        problems.add(table.path, f"{more} more columns hold cells that are not integers 0..255")
    return pixels


def _is_clean(column: pd.Series[Any]) -> bool:
    return column.dtype == np.int64 and bool(column.between(0, 255).all())


def _parse(records: Sequence[CsvLine], width: int, columns: list[int]) -> pd.DataFrame:
    """These columns of rows of `width` cells, named by their index; nothing is taken for a missing value."""
    import pandas as pd

    text = "\n".join(record.text for record in records)
    return pd.read_csv(
        io.StringIO(text),
        header=None,
        names=list(range(width)),
        usecols=columns,
        index_col=False,
        na_filter=False,
        skip_blank_lines=False,
        low_memory=False,
    )


def _checked_cells(table: Table, index: int, problems: ErrorCollector) -> list[int]:
    """A column cell by cell; bad cells are noted and become 0."""
    name = table.header[index]
    cells = table.column(name)
    whole = [bool(WHOLE.fullmatch(text)) and int(text) <= 255 for text in cells]
    for position in islice((place for place, good in enumerate(whole) if not good), MOST):
        text = cells[position]
        found = f"{shown(text)} is no whole number from 0 to 255" if text else "is empty"
        problems.add(table.where(position, name), found, "write the pixel as an integer 0..255")
    return [int(text) if good else 0 for text, good in zip(cells, whole, strict=True)]


def detect(candidate: Candidate) -> DetectedLayout | None:
    """A train and a test CSV with the same columns, but for the label."""
    folder = candidate.folder
    train_csv, test_csv = train_csv_name(folder), first_file(folder, "test.csv", "testing.csv", "*test*.csv")
    if not (train_csv and test_csv):
        return None
    train, test = read_table(folder / train_csv), read_table(folder / test_csv)
    label = label_column(train, [column for column in train.header if column not in test.header])
    id_name = next((column for column in test.header if column.lower() in ID_NAMES), None)
    files = {"format": "pixel_csv", "train": train_csv, "test": test_csv, "label": label}
    files |= {"id": id_name} if id_name in train.header else {}
    count = len([column for column in train.header if column not in (label, files.get("id"))])
    height, width, channels = _size_of_pixels(count, candidate.image, train.path, candidate.name)
    return DetectedLayout(files, height, width, channels, train.column(label))


def _size_of_pixels(count: int, image: Size | None, path: Path, name: str) -> tuple[int, int, int]:
    """Height, width and channels of images with so many pixel columns."""
    for channels in (1, 3):
        side = math.isqrt(count // channels)
        height, width = image or (side, side)
        if count and height * width * channels == count:
            return height, width, channels
    tried = f"neither {image[0]} x {image[1]}" if image else "neither a square"
    fix = f"pass `image` HxW, or write pipelines/{name}.yaml by hand"
    raise UserError.at(
        f"{path}, row 1", f"{count} pixel columns are {tried} in one channel nor in three", fix
    )


READERS.add("pixel_csv", Reader(PixelCsv, sources, read, detect, open_test), rank=0)
