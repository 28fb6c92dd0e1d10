"""`class_folders`: a folder of image files for each class, perhaps beside a table of what else is known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from softvote.data.csv_table import open_table, read_table
from softvote.data.image_cache import keep_in_memory
from softvote.data.image_kind import look_at
from softvote.data.image_survey import LOOKED_AT, ImageSurvey, spread
from softvote.data.image_values import EncodedImage
from softvote.data.label_cells import Groups
from softvote.data.label_detection import detect_groups, labels_of, spelling_notes
from softvote.data.labelled_paths import PathsConfig, open_listed_paths, path_sources, read_paths
from softvote.data.readers.base import READERS, Images, KeepImages, Reader, report_duplicates
from softvote.data.readers.detection import Candidate, DetectedLayout, train_csv_names
from softvote.errors import MOST_OF_A_KIND, ErrorCollector
from softvote.words import counted

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


def read(competition: Competition, folder: Path, keep: KeepImages = keep_in_memory) -> tuple[Images, Images]:
    """Train images in the order of their paths, and the test images that the sample submission lists."""
    table = _files(competition).table

    def groups_of(names: Sequence[str], problems: ErrorCollector) -> Groups:
        return _read_groups(folder / table, competition, names, problems) if table else {}

    return read_paths(competition, folder, _first_folder, keep, groups_of)


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
    for name in [name for name, row in zip(names, rows, strict=True) if row < 0][:MOST_OF_A_KIND]:
        problems.add(path, f"no row of image {name}", "add it")
    if problems:
        return {}
    others = [name for name in table.header if name != id_name]
    return {name: np.array(table.column(name), np.str_)[rows] for name in others}


def detect(candidate: Candidate) -> DetectedLayout | None:
    """A folder named for training that holds folders of images alone, and the images of the sample."""
    survey = ImageSurvey(candidate)
    test = survey.find(candidate.sample_ids, "test") if survey else None
    if test is None:
        return None
    by_top: dict[str, list[Path]] = {}
    for path in survey.files():
        place = path.relative_to(candidate.folder)
        for depth in range(1, len(place.parts) - 1):
            by_top.setdefault(Path(*place.parts[:depth]).as_posix(), []).append(path)
    tops = [
        top for top, paths in by_top.items() if _holds_classes(candidate.folder / top, paths, test.places)
    ]
    if not tops:
        return None
    top = min(tops, key=lambda name: ("train" not in name.lower(), len(Path(name).parts), name))
    paths = by_top[top]
    names = [path.relative_to(candidate.folder / top).parts[0] for path in paths]
    order = candidate.sample_columns if set(names) <= set(candidate.sample_columns) else []
    kind = look_at([*map(EncodedImage.of, spread(paths, LOOKED_AT)), *test.images], candidate.image)
    notes = [
        f"classes: the {counted(len(set(names)), 'folder')} in {top}"
        + (", in the order of the sample's columns" if order else ""),
        f"test images: those of the sample submission, in {', '.join(test.places)}",
        *spelling_notes(names, f"folders in {top}"),
        *kind.notes,
    ]
    table, folds, fold_notes = _detect_table(candidate, {path.name for path in paths})
    files = {"format": "class_folders", "train_images": top, "test_images": test.named} | table
    labels = {"labels": list(order) or labels_of(names, f"folders in {top}")}
    return DetectedLayout(
        files, *kind.size, kind.channels, resize=kind.resize, resizable=True,
        competition=labels, image=kind.image, folds=folds, notes=[*notes, *fold_notes],
    )  # fmt: skip


def _holds_classes(top: Path, paths: Sequence[Path], test_places: Sequence[str]) -> bool:
    """Whether all images below a folder are in at least two folders of it, which are not splits."""
    parts = [path.relative_to(top).parts for path in paths]
    is_test = any(place == top.name or place.startswith(f"{top.name}/") for place in test_places)
    folders = {part[0] for part in parts if len(part) > 1}
    of_split = any(word in name.lower() for name in folders for word in ("train", "test"))
    return all(len(part) > 1 for part in parts) and len(folders) > 1 and not of_split and not is_test


def _detect_table(candidate: Candidate, names: set[str]) -> tuple[dict[str, str], dict[str, Any], list[str]]:
    """A table of what else is known of the images: keys of `files`, of `folds`, and why."""
    for train_csv in train_csv_names(candidate.folder):
        table = read_table(candidate.folder / train_csv)
        for column in table.header:
            ids = table.column(column)
            if len(set(ids)) == len(ids) and names <= {PurePosixPath(text).name for text in ids}:
                folds, _, notes = detect_groups(table, [column], [])
                return ({"table": train_csv, "id": column}, folds, notes) if folds else ({}, {}, [])
    return {}, {}, []


READERS.add("class_folders", Reader(ClassFolders, sources, read, detect, open_listed_paths), rank=2)
