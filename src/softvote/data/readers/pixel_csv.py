"""`pixel_csv`: one line per image, pixels row by row (of colour images red, green and blue each time)."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from softvote.data.csv_table import CsvLine, Table, open_table
from softvote.data.label_cells import label_columns, read_row_labels
from softvote.data.pixel_cells import pixel_values
from softvote.data.reader_configs import LabelledFiles
from softvote.data.readers.base import (
    READERS,
    Images,
    KeepImages,
    LazyImages,
    Reader,
    addends_of,
    existing,
    report_duplicates,
    report_impossible_sums,
)
from softvote.data.readers.pixel_csv_detection import detect, find_numbered_alike
from softvote.errors import ErrorCollector
from softvote.words import counted

if TYPE_CHECKING:
    from softvote.config.competition import Competition
    from softvote.config.image import Image as ImageConfig


class PixelCsv(LabelledFiles):
    """One line per image: pixels row by row, a label column anywhere, perhaps an id column."""

    format: Literal["pixel_csv"]
    """`pixel_csv`: one line per image, pixels 0..255 row by row."""
    train: str = "train.csv"
    """CSV of the training rows, by its path in the competition's folder."""
    test: str = "test.csv"
    """CSV of the test rows, by its path in the competition's folder."""
    id: str | None = None
    """Name of the id's column in both files, or in the test file alone; if omitted, test rows are in
    sample_submission's order."""
    ignore: list[str] = []
    """Names of columns that are not pixels; if omitted, such columns are told by their names."""
    has_header: bool = True
    """Whether the first row of both files names the columns; else their names are '0', '1', ..."""
    addend: str = "addend"
    """Name of the addend's column in both files, where `competition.addend` says that there is one."""

    @property
    def packages(self) -> dict[str, str]:
        return {"pandas": "pandas"}

    @property
    def test_source(self) -> str:
        return self.test


def sources(competition: Competition, folder: Path) -> list[Path]:
    """Both tables and the sample submission."""
    files = _files(competition)
    return existing(competition, folder, [files.train, files.test])


def read(competition: Competition, folder: Path, keep: KeepImages | None = None) -> tuple[Images, Images]:
    """Train images with labels, and test images; with ids where the pipeline names their column."""
    files, problems = _files(competition), ErrorCollector()
    tables = [open_table(folder / name, problems, files.has_header) for name in (files.train, files.test)]
    _report_other_order(tables, competition, problems)
    train, test = (
        _images(table, competition, labelled, problems) if table else None
        for table, labelled in zip(tables, (True, False), strict=True)
    )
    problems.raise_any()
    assert train and test, "a table without images has a problem"
    return train, test


def open_test(competition: Competition, folder: Path) -> LazyImages:
    """The rows of the test file; of those of another length nothing is read.

    Pixels that stand in another order than in the training file, of which the header alone is read, are put
    into its order.
    """
    files, problems = _files(competition), ErrorCollector()
    keep_ragged = files.id is None
    table = open_table(folder / files.test, problems, files.has_header, keep_ragged, may_be_empty=True)
    if table is None or not table.records:
        problems.raise_any()
    assert table, "a table that cannot be read has a problem"
    rows, ragged = _blank_ragged(table)
    columns = _as_in_training(rows, competition, folder)
    ids = rows.column(files.id) if files.id and files.id in rows.header else None

    def load(positions: Sequence[int]) -> tuple[Images, dict[int, str]]:
        def part(of: Sequence[int]) -> tuple[Images | None, str]:
            problems = ErrorCollector()
            some = replace(rows, records=[rows.records[position] for position in of])
            return _images(some, competition, False, problems, columns), problems.first()

        images, problem = part(positions)
        if images and not problem and ragged.keys().isdisjoint(positions):
            return images, {}
        each = [ragged.get(position) or part([position])[1] for position in positions]
        image = competition.image
        black = np.zeros((len(positions), image.channels, image.height, image.width), np.uint8)
        addends = np.zeros(len(positions), np.int64) if competition.addend else None
        found = images or Images(black, addends=addends)
        return found, {place: problem for place, problem in enumerate(each) if problem}

    return LazyImages(len(rows.records), ids, load)


def _blank_ragged(table: Table) -> tuple[Table, dict[int, str]]:
    """The table with zeros in rows of another width than the header's, and what is wrong with these."""
    width, records = len(table.header), list(table.records)
    ragged = {place: record for place, record in enumerate(records) if record.width != width}
    for place, record in ragged.items():
        records[place] = CsvLine(record.row, width, ",".join("0" * width))
    said = f"{table.path}, row {{}}: has {{}}, the header has {width}"
    return replace(table, records=records), {
        place: said.format(record.row, counted(record.width, "cell")) for place, record in ragged.items()
    }


def _as_in_training(table: Table, competition: Competition, folder: Path) -> list[int]:
    """The columns of pixels of a test file, in the order of the training file where it has the same names."""
    files, columns = _files(competition), _pixel_columns(table, competition, labelled=False)
    path = folder / files.train
    if not (files.has_header and path.is_file()):
        return columns
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        header = Table(path, [name.strip() for name in next(csv.reader(file), [])], [])
    names = [header.header[index] for index in _pixel_columns(header, competition, labelled=True)]
    there = {table.header[index]: index for index in columns}
    return [there[name] for name in names] if sorted(names) == sorted(there) else columns


def _files(competition: Competition) -> PixelCsv:
    assert isinstance(competition.files, PixelCsv)
    return competition.files


def _pixel_columns(table: Table, competition: Competition, labelled: bool) -> list[int]:
    """The columns of pixels: all that have no other meaning; of too many, those numbered alike."""
    files, image = _files(competition), competition.image
    others = {files.id, files.addend if competition.addend else None, *files.ignore}
    if labelled or files.has_header:  # a number names another column where there are no labels
        others |= set(label_columns(files, competition))
    columns = [index for index, name in enumerate(table.header) if name not in others]
    expected = image.height * image.width * image.channels
    if len(columns) <= expected:
        return columns
    numbered = find_numbered_alike([table.header[index] for index in columns])
    return [columns[place] for place in numbered] if len(numbered) == expected else columns


def _report_other_order(
    tables: list[Table | None], competition: Competition, problems: ErrorCollector
) -> None:
    files = _files(competition)
    columns = [(table, _pixel_columns(table, competition, table is tables[0])) for table in tables if table]
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
    table: Table,
    competition: Competition,
    labelled: bool,
    problems: ErrorCollector,
    columns: list[int] | None = None,
) -> Images | None:
    files, image = _files(competition), competition.image
    columns = columns or _pixel_columns(table, competition, labelled)
    labels_in = label_columns(files, competition) if labelled else []
    id_name = files.id if not labelled or files.id in table.header else None
    wanted = [*labels_in, *filter(None, [id_name, files.addend if competition.addend else None])]
    present = [table.has(name, problems) for name in wanted]
    if not all(present) or not _fits(table, len(columns), image, problems):
        return None
    labels, addends = _read_labels(table, competition, labelled, problems)
    ids = None
    if id_name:
        ids = table.column(id_name)
        report_duplicates(ids, lambda position: table.where(position, id_name), problems)
    flat = pixel_values(table, columns, problems)
    shaped = flat.reshape(-1, image.height, image.width, image.channels)
    others = [
        name for index, name in enumerate(table.header) if index not in {*columns} and name not in wanted
    ]
    pixels = np.ascontiguousarray(shaped.transpose(0, 3, 1, 2))
    return Images(
        pixels, labels, ids, addends, _groups(table, others, labelled), _notes(table, others, files)
    )


def _read_labels(
    table: Table, competition: Competition, labelled: bool, problems: ErrorCollector
) -> tuple[NDArray[np.int64] | None, NDArray[np.int64] | None]:
    """Labels, where there are, and addends, where there are."""
    files = _files(competition)
    labels = addends = None
    if competition.addend:
        addends = addends_of(
            table.column(files.addend), lambda position: table.where(position, files.addend), problems
        )
    if labelled:
        labels = read_row_labels(table, label_columns(files, competition)[0], competition, problems)
    if labels is not None and addends is not None and not problems:
        report_impossible_sums(
            labels, addends, competition, lambda position: table.where(position, files.label), problems
        )
    return labels, addends


def _groups(table: Table, others: Sequence[str], labelled: bool) -> dict[str, NDArray[np.str_]]:
    return {name: np.array(table.column(name), np.str_) for name in others} if labelled else {}


def _notes(table: Table, others: Sequence[str], files: PixelCsv) -> list[str]:
    """What is to be said of columns that were left out without being named."""
    unnamed = [name or "without a name" for name in others if name not in files.ignore]
    if not unnamed:
        return []
    return [f"{table.path.name}: columns that are not pixels were left out: {', '.join(unnamed[:8])}"]


def _fits(table: Table, count: int, image: ImageConfig, problems: ErrorCollector) -> bool:
    """Whether an image has as many pixels as the pipeline says; noted if not."""
    expected = image.height * image.width * image.channels
    if count == expected:
        return True
    size = f"{image.height} x {image.width} x {image.channels}"
    side, rest = math.isqrt(count // image.channels), count % image.channels
    fits = side**2 * image.channels == count and not rest
    fix = f"set image height and width to {side}" if fits else "fix image, or the label and id columns"
    what = f"{counted(count, 'pixel column')}, but competition.image is {size} = {expected}"
    problems.add(f"{table.path}, row 1", what, fix)
    return False


READERS.add("pixel_csv", Reader(PixelCsv, sources, read, detect, open_test), rank=0)
