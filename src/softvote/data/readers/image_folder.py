"""`image_folder`: a CSV of ids and labels beside folders of image files; any format Pillow reads."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from softvote.config.registry import FilesConfig
from softvote.config.schema import ConfigError
from softvote.data.csv_table import Table, open_table
from softvote.data.id_label_table import read_id_label_table
from softvote.data.readers.base import (
    MOST,
    READERS,
    Images,
    Reader,
    class_indices,
    existing,
    report_duplicates,
)
from softvote.data.readers.detection import (
    Candidate,
    DetectedLayout,
    Size,
    label_column,
    read_table,
    train_csv_name,
)
from softvote.errors import ErrorCollector, UserError

if TYPE_CHECKING:
    from PIL import Image

    from softvote.config.competition import Competition
    from softvote.config.competition import Image as ImageConfig


SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")


class ImageFolder(FilesConfig):
    """A CSV of ids and labels beside folders of image files."""

    format: Literal["image_folder"]
    """`image_folder`: a CSV of ids and labels beside folders of image files."""
    train: str = "train.csv"
    """CSV of ids and labels, by its path in the competition's folder."""
    train_images: str = "train"
    """Folder of the training images, by its path in the competition's folder."""
    test_images: str = "test"
    """Folder of the test images, by its path in the competition's folder."""
    id: str = "id"
    """Name of the column that names the image file, with or without its suffix."""
    label: str = "label"
    """Name of the label's column in the train file."""
    suffix: str = ""
    """File suffix added to ids that are written without it, such as `.png`."""

    @property
    def test_source(self) -> str:
        return self.test_images

    def check_addend(self, addend: bool) -> None:
        """Refuse addends."""
        if addend:
            raise ConfigError.at(
                "", "files of format image_folder have no place for addends", "use pixel_csv or npy"
            )


def sources(competition: Competition, folder: Path) -> list[Path]:
    """The table, the sample submission and every image file under the image folders."""
    files = _files(competition)
    paths = existing(competition, folder, [files.train, files.train_images, files.test_images])
    walks = (walk for path in paths for walk in os.walk(path))
    # Other files, such as those a file manager leaves behind, must not make the cache look stale.
    inside = (Path(top, name) for top, _, names in walks for name in names if name.lower().endswith(SUFFIXES))
    return sorted({path for path in paths if path.is_file()} | set(inside))


def read(competition: Competition, folder: Path) -> tuple[Images, Images]:
    """Train images with labels and ids, and the test images that the sample submission lists."""
    files, problems = _files(competition), ErrorCollector()
    table = open_table(folder / files.train, problems)
    train = _train_images(table, folder / files.train_images, competition, problems) if table else None
    form = read_id_label_table(folder / competition.sample_submission)
    places = [form.where(position, 0) for position in range(len(form.ids))]
    pixels = _load_all(form.ids, places, folder / files.test_images, competition, problems)
    problems.raise_any()
    assert train, "a table without images has a problem"
    return train, Images(pixels, ids=form.ids)


def _files(competition: Competition) -> ImageFolder:
    assert isinstance(competition.files, ImageFolder)
    return competition.files


def _train_images(
    table: Table, images: Path, competition: Competition, problems: ErrorCollector
) -> Images | None:
    files = _files(competition)
    present = [table.has(name, problems) for name in (files.id, files.label)]
    if not all(present):
        return None
    ids, label_name = table.column(files.id), files.label
    places = [table.where(position, files.id) for position in range(len(ids))]
    report_duplicates(ids, places.__getitem__, problems)
    labels = class_indices(
        table.column(label_name), competition, lambda position: table.where(position, label_name), problems
    )
    return Images(_load_all(ids, places, images, competition, problems), labels, ids)


def _load_all(
    ids: list[str], places: list[str], folder: Path, competition: Competition, problems: ErrorCollector
) -> NDArray[np.uint8]:
    """uint8 (N, C, H, W); images that cannot be had are noted at the places that name them."""
    image, suffix = competition.image, _files(competition).suffix
    pixels = np.zeros((len(ids), image.channels, image.height, image.width), np.uint8)
    before = len(problems)
    for position, (name, place) in enumerate(zip(ids, places, strict=True)):
        if len(problems) - before > MOST:
            break
        path = path_of(folder, name, suffix)
        if path is None:
            tried = suffix or ", ".join(SUFFIXES)
            problems.add(place, f"no image {folder / name} (nor with {tried})", "add it or mend files.suffix")
        else:
            loaded = load_image(path, image, place, problems)
            pixels[position] = 0 if loaded is None else loaded
    return pixels


def path_of(folder: Path, name: str, suffix: str) -> Path | None:
    """The image's file: the id with the pipeline's suffix, else as written, else with a usual one."""
    candidates = (folder / f"{name}{ending}" for ending in (suffix, "", *SUFFIXES))
    return next((path for path in candidates if path.is_file()), None)


def load_image(
    path: Path, config: ImageConfig, place: str, problems: ErrorCollector
) -> NDArray[np.uint8] | None:
    """One image, uint8 (C, H, W); what is wrong is noted at the place that names it, and gives None."""
    image = decoded(path, config.channels, place, problems)
    if image is None:
        return None
    if image.size != (config.width, config.height) and not config.resize:
        found, named = f"{image.height} x {image.width}", f"{config.height} x {config.width}"
        problems.add(place, f"{path} is {found}, competition.image says {named}", "set image.resize: true")
        return None
    return as_array(image, config)


def decoded(path: Path, channels: int, place: str, problems: ErrorCollector) -> Image.Image | None:
    """An image file in grey or RGB, as large as it is; damage is noted and gives None."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as file:
            return _eight_bit(file).convert("L" if channels == 1 else "RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = "not an image" if isinstance(error, UnidentifiedImageError) else str(error)
        problems.add(place, f"{path} is damaged ({reason})", "download it again")
        return None


def as_array(image: Image.Image, config: ImageConfig) -> NDArray[np.uint8]:
    """uint8 (C, H, W), brought to the height and width of `config`."""
    from PIL import Image

    size = (config.width, config.height)
    if image.size != size:
        image = image.resize(size, Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(config.height, config.width, config.channels).transpose(2, 0, 1)


def _eight_bit(image: Image.Image) -> Image.Image:
    """Images of 16 bits brought to 8; Pillow's own conversion would clip them at 255."""
    from PIL import Image

    if not image.mode.startswith("I"):
        return image
    # PNG holds no more than 16 bits, even where Pillow opens it in 32.
    return Image.fromarray((np.asarray(image).astype(np.float32) / 257).round().astype(np.uint8))


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


READERS.add("image_folder", Reader(ImageFolder, sources, read, detect), rank=1)
