"""`class_folders`: a folder of image files for each class, perhaps beside a table of what else is known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal

import numpy as np

from softvote.data.csv_table import open_table
from softvote.data.label_cells import Groups
from softvote.data.labelled_paths import PathsConfig, path_sources, read_paths
from softvote.data.readers.base import MOST, READERS, Images, Reader, report_duplicates
from softvote.data.readers.detection import Candidate, DetectedLayout
from softvote.errors import ErrorCollector

if TYPE_CHECKING:
    from softvote.config.competition import Competition


class ClassFolders(PathsConfig):
    """A folder of image files for each class."""

    format: Literal["class_folders"]
    """`class_folders`: a folder of image files for each class, within the folder of training images."""
    table: str | None = None
    """CSV of what else is known of the training images, whose columns can be named in `folds`."""
    id: str = "id"
    """Name of the column of `table` that names the image file."""


def sources(competition: Competition, folder: Path) -> list[Path]:
    """The table, the sample submission and every image file under the image folders."""
    table = _files(competition).table
    return path_sources(competition, folder, [table] if table else [])


def read(competition: Competition, folder: Path) -> tuple[Images, Images]:
    """Train images in the order of their paths, and the test images that the sample submission lists."""
    table = _files(competition).table

    def groups_of(names: Sequence[str], problems: ErrorCollector) -> Groups:
        return _read_groups(folder / table, competition, names, problems) if table else {}

    return read_paths(competition, folder, _first_folder, groups_of)


def _files(competition: Competition) -> ClassFolders:
    assert isinstance(competition.files, ClassFolders)
    return competition.files


def _first_folder(name: str) -> str | None:
    parts = PurePosixPath(name).parts
    return parts[0] if len(parts) > 1 else None


def _read_groups(
    path: Path, competition: Competition, names: Sequence[str], problems: ErrorCollector
) -> Groups:
    """The columns of the table in the order of the images."""
    table, id_name = open_table(path, problems), _files(competition).id
    if table is None or not table.has(id_name, problems):
        return {}
    ids = table.column(id_name)
    report_duplicates(ids, lambda position: table.where(position, id_name), problems)
    row_of = {PurePosixPath(text).name: row for row, text in enumerate(ids)}
    rows = [row_of.get(PurePosixPath(name).name, -1) for name in names]
    for name in [name for name, row in zip(names, rows, strict=True) if row < 0][:MOST]:
        problems.add(path, f"no row of image {name}", "add it")
    if problems:
        return {}
    others = [name for name in table.header if name != id_name]
    return {name: np.array(table.column(name), np.str_)[rows] for name in others}


def detect(candidate: Candidate) -> DetectedLayout | None:
    """A folder named for training that holds folders of images alone."""
    return None


READERS.add("class_folders", Reader(ClassFolders, sources, read, detect), rank=2)
