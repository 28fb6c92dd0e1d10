"""`parquet`: Parquet files with a row of pixels for each image, beside a CSV of ids and labels."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from softvote.config.schema import OneOrSeveral
from softvote.data.csv_table import Table, open_table, read_table
from softvote.data.flat_pixels import FlatPixels, shape_pixels
from softvote.data.image_files import folders_of
from softvote.data.label_cells import read_labels
from softvote.data.label_detection import detect_groups, detect_labels
from softvote.data.readers.base import (
    READERS,
    Images,
    KeepImages,
    LazyImages,
    Reader,
    existing,
    lazy_images,
    quote,
    report_duplicates,
)
from softvote.data.readers.detection import (
    Candidate,
    DetectedLayout,
    Size,
    UniqueIds,
    train_csv_names,
)
from softvote.errors import MOST_OF_A_KIND, ErrorCollector, UserError
from softvote.words import counted

if TYPE_CHECKING:
    from softvote.config.competition import Competition


_BATCH = 1000  # rows decoded at once


class ParquetPixels(FlatPixels):
    """Parquet files with a row of pixels for each image, beside a CSV of ids and labels."""

    format: Literal["parquet"]
    """`parquet`: Parquet files with a row of pixels for each image, beside a CSV of ids and labels."""
    train: str = "train.csv"
    """CSV of ids and labels, by its path in the competition's folder."""
    train_images: OneOrSeveral = "train.parquet"
    """Parquet file of the training images, or several."""
    test_images: OneOrSeveral = "test.parquet"
    """Parquet file of the test images, or several."""
    id: Annotated[str, Field(min_length=1)] = "id"
    """Name of the id's column in all these files; the others of the Parquet files are pixels, row by row."""

    @property
    def packages(self) -> dict[str, str]:
        return {"pyarrow": "pyarrow", "PIL": "pillow"}

    @property
    def test_source(self) -> str:
        return ", ".join(folders_of(self.test_images))


def sources(competition: Competition, folder: Path) -> list[Path]:
    """The table, the sample submission and the Parquet files."""
    files = _files(competition)
    images = [*folders_of(files.train_images), *folders_of(files.test_images)]
    return existing(competition, folder, [files.train, *images])


def read(competition: Competition, folder: Path, keep: KeepImages | None = None) -> tuple[Images, Images]:
    """Train images in the order of the table, and test images with their ids."""
    files, problems = _files(competition), ErrorCollector()
    table = open_table(folder / files.train, problems)
    rows = read_labels(table, files.id, competition, problems) if table else None
    train_ids, train = _load(folder, files.train_images, competition, problems)
    test_ids, test = _load(folder, files.test_images, competition, problems)
    for ids, names in ((train_ids, files.train_images), (test_ids, files.test_images)):
        _report_repeated(ids, ", ".join(folders_of(names)), problems)
    order: list[int] = []
    notes = []
    if table and rows and train_ids:
        row_of = {name: row for row, name in enumerate(train_ids)}
        order = [row_of.get(name, -1) for name in rows.ids]
        source = ", ".join(folders_of(files.train_images))
        for place in [place for place, row in enumerate(order) if row < 0][:MOST_OF_A_KIND]:
            where = table.where(int(rows.positions[place]), files.id)
            problems.add(where, f"id {quote(rows.ids[place])} is not in {source}", "fix one of them")
        if unlabelled := len(row_of) - len(rows.ids):
            verb = "is" if unlabelled == 1 else "are"
            all_of = f"{counted(len(row_of), 'image')} of {source}"
            notes.append(f"{unlabelled:,} of the {all_of} {verb} in no row of {files.train}")
    problems.raise_any()
    assert rows, "a table without labels has a problem"
    return (
        Images(train[order], rows.labels, rows.ids, groups=rows.groups, notes=notes),
        Images(test, ids=test_ids),
    )


def open_test(competition: Competition, folder: Path) -> LazyImages:
    """The rows of the test files, which hold no single image that could be damaged without the file."""
    problems = ErrorCollector()
    ids, pixels = _load(folder, _files(competition).test_images, competition, problems)
    problems.raise_any()
    return lazy_images(Images(pixels, ids=ids))


def _files(competition: Competition) -> ParquetPixels:
    assert isinstance(competition.files, ParquetPixels)
    return competition.files


def _load(
    folder: Path, names: str | list[str], competition: Competition, problems: ErrorCollector
) -> tuple[list[str], NDArray[np.uint8]]:
    """Ids, and uint8 (N, C, H, W), of some files; what is wrong is noted.

    Pixels are in the order of the first training file, where that is there and has the same names.
    """
    files = _files(competition)
    order = _pixel_names(folder / folders_of(files.train_images)[0], files.id)
    ids: list[str] = []
    parts: list[NDArray[np.uint8]] = []
    for name in folders_of(names):
        part = _load_file(folder / name, competition, problems, order)
        ids += part[0]
        parts += part[1]
    image = competition.image
    empty = np.zeros((0, image.channels, image.height, image.width), np.uint8)
    return ids, np.concatenate([empty, *parts])


def _report_repeated(ids: list[str], source: str, problems: ErrorCollector) -> None:
    report_duplicates(ids, lambda row: f"{source}, image {row + 1}", problems)


def _load_file(
    path: Path, competition: Competition, problems: ErrorCollector, order: list[str]
) -> tuple[list[str], list[NDArray[np.uint8]]]:
    files = _files(competition)
    table = open_parquet(path, problems)
    if table is None:
        return [], []
    columns = [name for name in table.schema_arrow.names if name != files.id]
    if sorted(columns) == sorted(order):
        columns = order
    if len(columns) == len(table.schema_arrow.names):
        problems.add(path, f"no column '{files.id}'", f"it has {', '.join(columns[:8])}; fix files.id")
        return [], []
    ids: list[str] = []
    parts: list[NDArray[np.uint8]] = []
    try:
        for batch in table.iter_batches(_BATCH):
            ids += [str(name) for name in batch.column(files.id).to_pylist()]
            values = np.stack([batch.column(name).to_numpy(zero_copy_only=False) for name in columns], axis=1)
            parts.append(shape_pixels(values, path, competition, problems))
            if problems:
                return [], []
    except (OSError, ValueError, TypeError) as error:
        problems.add(path, f"is damaged ({str(error).splitlines()[0]})", "download it again")
    return ids, parts


def _pixel_names(path: Path, id_name: str) -> list[str]:
    """The columns of pixels of a file, in its order; none where it is not there."""
    table = open_parquet(path, ErrorCollector()) if path.is_file() else None
    return [] if table is None else [name for name in table.schema_arrow.names if name != id_name]


def open_parquet(path: Path, problems: ErrorCollector) -> Any:
    """pyarrow's ParquetFile; None where it cannot be had, which is noted.

    Raises:
        UserError: pyarrow is missing.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UserError.at(path, "is Parquet, which needs pyarrow", "install softvote[formats]") from None
    try:
        return pyarrow.parquet.ParquetFile(path)
    except (pyarrow.ArrowInvalid, OSError) as error:
        problems.add(
            path,
            f"is not a Parquet file, or is truncated ({str(error).splitlines()[0]})",
            "download it again",
        )
        return None


def detect(candidate: Candidate) -> DetectedLayout | None:
    """Parquet files named for train and test, beside a CSV with the same ids."""
    paths = sorted(candidate.folder.glob("*.parquet"))
    test = [path for path in paths if "test" in path.name.lower()]
    train = [path for path in paths if path not in test]
    if not (train and test):
        return None
    problems = ErrorCollector()
    opened = open_parquet(train[0], problems)
    problems.raise_any()
    names = opened.schema_arrow.names
    for train_csv in train_csv_names(candidate.folder):
        table = read_table(candidate.folder / train_csv)
        shared = [name for name in table.header if name in names]
        if len(shared) == 1:
            return _build_layout(candidate, table, shared[0], train, test, len(names) - 1)
    return None


def _build_layout(
    candidate: Candidate, table: Table, id_name: str, train: list[Path], test: list[Path], count: int
) -> DetectedLayout:
    image = candidate.image or _size_of(count, candidate, train[0])
    labels = detect_labels(table, id_name, candidate)
    folds, groups, fold_notes = detect_groups(table, [id_name, *labels.columns], table.column(id_name))
    files = {
        "format": "parquet",
        "train": table.path.name,
        "train_images": [path.name for path in train],
        "test_images": [path.name for path in test],
        "id": id_name,
    }
    files |= labels.files | ({"groups": groups} if groups else {})
    channels = count // (image[0] * image[1])
    notes = [
        f"images: {count} columns of {train[0].name} beside {id_name} are {image[0]} x {image[1]} pixels"
    ]
    return DetectedLayout(
        files, *image, channels, competition=labels.competition, folds=folds,
        notes=[*notes, *labels.notes, *fold_notes], ids=[_find_ids(part, id_name) for part in (train, test)],
    )  # fmt: skip


def _find_ids(paths: list[Path], id_name: str) -> UniqueIds:
    """Ids of images in some files, without their pixels; what else is wrong is told when they are read."""
    opened = [file for path in paths if (file := open_parquet(path, ErrorCollector()))]
    columns = [
        file.read(columns=[id_name]).column(0) for file in opened if id_name in file.schema_arrow.names
    ]
    ids = [str(name) for column in columns for name in column.to_pylist()]
    return UniqueIds(", ".join(path.name for path in paths), ids, range(1, len(ids) + 1), "images")


def _size_of(count: int, candidate: Candidate, path: Path) -> Size:
    side = math.isqrt(count)
    if side * side != count:
        fix = f"pass `image` HxW, or write pipelines/{candidate.name}.yaml by hand"
        raise UserError.at(path, f"{count} pixel columns are not a square", fix)
    return side, side


READERS.add("parquet", Reader(ParquetPixels, sources, read, detect, open_test), rank=5)
