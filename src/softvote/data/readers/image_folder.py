"""`image_folder`: a CSV of ids and labels beside folders of image files, or an HDF5 file of them."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from softvote.config.schema import ConfigError, OneOrSeveral
from softvote.data.csv_table import Table, open_table
from softvote.data.decoding import SUFFIXES
from softvote.data.id_label_table import read_id_label_table
from softvote.data.image_files import ImageLoader, Stores, folders_of, image_sources
from softvote.data.label_cells import LabelledFiles, read_labels
from softvote.data.readers.base import READERS, Images, LazyImages, Reader, existing
from softvote.data.readers.detection import (
    Candidate,
    DetectedLayout,
    Size,
    label_column,
    read_table,
    train_csv_name,
)
from softvote.data.sample_ids import read_sample_ids
from softvote.errors import ErrorCollector, UserError

if TYPE_CHECKING:
    from softvote.config.competition import Competition


class ImageFolder(LabelledFiles):
    """A CSV of ids and labels beside folders of image files."""

    format: Literal["image_folder"]
    """`image_folder`: a CSV of ids and labels beside folders of image files, or HDF5 files of them."""
    train: str = "train.csv"
    """CSV of ids and labels, by its path in the competition's folder."""
    train_images: OneOrSeveral = "train"
    """Folder of the training images by its path in the competition's folder, or several; or an HDF5 file."""
    test_images: OneOrSeveral = "test"
    """Folder of the test images by its path in the competition's folder, or several; or an HDF5 file."""
    id: str = "id"
    """Name of the column that names the image file, with or without its suffix and the folders before it."""
    suffix: str = ""
    """File suffix added to ids that are written without it, such as `.png`."""
    channel_suffixes: list[str] = []
    """Where several files are the channels of one image: what follows the id in each of their names, such as
    `[_red.png, _green.png, _blue.png]`."""

    @property
    def test_source(self) -> str:
        return ", ".join(folders_of(self.test_images))

    def check_addend(self, addend: bool) -> None:
        """Refuse addends."""
        if addend:
            raise ConfigError.at(
                "", "files of format image_folder have no place for addends", "use pixel_csv or npy"
            )

    def check_channels(self, channels: int) -> None:
        """Refuse another number of channel files."""
        count = len(self.channel_suffixes)
        if count not in (0, channels):
            raise ConfigError.at("", f"files: {count} channel_suffixes for {channels} channels", "mend one")


def sources(competition: Competition, folder: Path) -> list[Path]:
    """The table, the sample submission and every image file under the image folders."""
    files = _files(competition)
    images = [*folders_of(files.train_images), *folders_of(files.test_images)]
    paths = existing(competition, folder, [files.train, *images])
    return sorted(image_sources(paths, files.channel_suffixes or [files.suffix]))


def read(competition: Competition, folder: Path) -> tuple[Images, Images]:
    """Train images with labels and ids, and the test images that the sample submission lists."""
    files, problems = _files(competition), ErrorCollector()
    loader = ImageLoader(competition.image, files.suffix, files.channel_suffixes, problems)
    stores = Stores(folder, files.channel_suffixes or [files.suffix])
    table = open_table(folder / files.train, problems)
    rows = read_labels(table, files.id, competition, problems) if table else None
    train = None
    if table and rows:
        places = [table.where(position, files.id) for position in rows.positions.tolist()]
        store, shown = stores.open(files.train_images)
        train = loader.load(rows.ids, places, store, shown)
    sample = read_sample_ids(folder / competition.sample_submission, competition)
    store, shown = stores.open(files.test_images)
    test = loader.load(sample.ids, sample.places, store, shown)
    loader.report_depth(shown)
    problems.raise_any()
    assert rows and train is not None, "a table without images has a problem"
    notes = [*loader.notes(), *loader.unused(store, files.test_source, competition.sample_submission)]
    return Images(train, rows.labels, rows.ids, groups=rows.groups, notes=notes), Images(test, ids=sample.ids)


def open_test(competition: Competition, folder: Path) -> LazyImages:
    """The test images that the sample submission lists."""
    files = _files(competition)
    sample = read_sample_ids(folder / competition.sample_submission, competition)
    stores = Stores(folder, files.channel_suffixes or [files.suffix])
    store, shown = stores.open(files.test_images)

    def load_one(position: int) -> tuple[NDArray[np.uint8], str]:
        problems = ErrorCollector()
        loader = ImageLoader(competition.image, files.suffix, files.channel_suffixes, problems)
        ids, places = [sample.ids[position]], [sample.places[position]]
        pixels = loader.load(ids, places, store, shown)
        return pixels, problems.first()

    def load(positions: Sequence[int]) -> tuple[Images, dict[int, str]]:
        loaded = [load_one(position) for position in positions]
        bad = {place: problem for place, (_, problem) in enumerate(loaded) if problem}
        return Images(np.concatenate([pixels for pixels, _ in loaded])), bad

    return LazyImages(len(sample.ids), sample.ids, load)


def _files(competition: Competition) -> ImageFolder:
    assert isinstance(competition.files, ImageFolder)
    return competition.files


def path_of(folder: Path, name: str, suffix: str) -> Path | None:
    """The image's file: the id with the pipeline's suffix, else as written, else with a usual one."""
    candidates = (folder / f"{name}{ending}" for ending in (suffix, "", *SUFFIXES))
    return next((path for path in candidates if path.is_file()), None)


def detect(candidate: Candidate) -> DetectedLayout | None:
    """A train CSV with a column that names image files, and a folder of images for test."""
    folder, sample, image = candidate.folder, candidate.sample, candidate.image
    folders = _folders_of_images(folder)
    train_images = _likeliest(folders, "train")
    test_images = _likeliest(folders, "test")
    train_csv = train_csv_name(folder)
    if not (sample and train_images and test_images and train_csv):
        return None
    table = read_table(folder / train_csv)
    named = _column_of_files(table, folder / train_images)
    if named is None:
        return None
    id_name, suffix = named
    label = label_column(table, [name for name in table.header if name != id_name])
    files = {
        "format": "image_folder",
        "train": train_csv,
        "train_images": train_images,
        "test_images": test_images,
    }
    files |= {"id": id_name, "label": label} | ({"suffix": suffix} if suffix else {})
    train_paths = (path_of(folder / train_images, text, suffix) for text in table.column(id_name))
    test_paths = (
        path_of(folder / test_images, text, suffix) for text in read_id_label_table(folder / sample).ids
    )
    look_at = [path for paths in (train_paths, test_paths) for path in islice(paths, 200) if path]
    height, width, channels, resize = _size_of_files(look_at, image)
    return DetectedLayout(files, height, width, channels, table.column(label), resize)


def _folders_of_images(folder: Path) -> list[str]:
    """Folders that hold image files, by their path from `folder`."""
    found = []
    for top, _, names in os.walk(folder):
        if top != str(folder) and any(name.lower().endswith(SUFFIXES) for name in names):
            found.append(Path(top).relative_to(folder).as_posix())
    return sorted(found)


def _likeliest(folders: list[str], split: str) -> str | None:
    """The folder named for the split; else the only one, or one named for images, that is for no split."""
    named = [name for name in folders if split in name.lower()]
    common = [name for name in folders if not re.search("train|test|valid", name.lower())]
    return next(iter([*named, *sorted(common, key=lambda name: "image" not in name.lower())]), None)


def _column_of_files(table: Table, folder: Path) -> tuple[str, str] | None:
    """The column that names image files, and the suffix it leaves out."""
    for column in table.header:
        name = table.column(column)[0]
        path = path_of(folder, name, "") if name else None
        if path:
            return column, path.name.removeprefix(Path(name).name)
    return None


def _size_of_files(paths: Iterable[Path], image: Size | None) -> tuple[int, int, int, bool]:
    """Height, width, channels, and whether to resize: the commonest size, within limits."""
    from PIL import Image

    sizes: Counter[Size] = Counter()
    channels = 1
    for path in paths:
        try:
            with Image.open(path) as file:
                sizes[file.height, file.width] += 1
                channels = 1 if channels == 1 and file.mode[0] in "1LI" else 3
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            raise UserError.at(path, "is not an image that can be read", "download it again") from None
    height, width = image or _limited(*sizes.most_common(1)[0][0])
    return height, width, channels, set(sizes) != {(height, width)}


LARGEST = 224
"""Image files with a longer side are scaled down to this."""


def _limited(height: int, width: int) -> Size:
    shrink = min(1.0, LARGEST / max(height, width))
    return max(1, round(height * shrink)), max(1, round(width * shrink))


READERS.add("image_folder", Reader(ImageFolder, sources, read, detect, open_test), rank=1)
