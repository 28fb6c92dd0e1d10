"""`image_folder`: a CSV of ids and labels beside folders of image files; any format Pillow reads."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from softvote.config.competition import Competition, ImageFolder
from softvote.config.competition import Image as ImageFacts
from softvote.data.csv_table import Table, open_table
from softvote.data.id_label_table import read_id_label_table
from softvote.data.readers.base import MOST, Images, class_indices, existing, report_duplicates
from softvote.errors import ErrorCollector

if TYPE_CHECKING:
    from PIL import Image


SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")


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
            problems.add(place, f"no image {folder / name} (nor with {tried}); add it or mend files.suffix")
        else:
            loaded = load_image(path, image, place, problems)
            pixels[position] = 0 if loaded is None else loaded
    return pixels


def path_of(folder: Path, name: str, suffix: str) -> Path | None:
    """The image's file: the id with the pipeline's suffix, else as written, else with a usual one."""
    candidates = (folder / f"{name}{ending}" for ending in (suffix, "", *SUFFIXES))
    return next((path for path in candidates if path.is_file()), None)


def load_image(
    path: Path, facts: ImageFacts, place: str, problems: ErrorCollector
) -> NDArray[np.uint8] | None:
    """One image, uint8 (C, H, W); what is wrong is noted at the place that names it, and gives None."""
    image = decoded(path, facts.channels, place, problems)
    if image is None:
        return None
    if image.size != (facts.width, facts.height) and not facts.resize:
        found, named = f"{image.height} x {image.width}", f"{facts.height} x {facts.width}"
        problems.add(place, f"{path} is {found}, competition.image says {named}; set image.resize: true")
        return None
    return as_array(image, facts)


def decoded(path: Path, channels: int, place: str, problems: ErrorCollector) -> Image.Image | None:
    """An image file in grey or RGB, as large as it is; damage is noted and gives None."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as file:
            return _eight_bit(file).convert("L" if channels == 1 else "RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = "not an image" if isinstance(error, UnidentifiedImageError) else str(error)
        problems.add(place, f"{path} is damaged ({reason}); download it again")
        return None


def as_array(image: Image.Image, facts: ImageFacts) -> NDArray[np.uint8]:
    """uint8 (C, H, W), brought to the height and width of `facts`."""
    from PIL import Image

    size = (facts.width, facts.height)
    if image.size != size:
        image = image.resize(size, Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(facts.height, facts.width, facts.channels).transpose(2, 0, 1)


def _eight_bit(image: Image.Image) -> Image.Image:
    """Images of 16 bits brought to 8; Pillow's own conversion would clip them at 255."""
    from PIL import Image

    if not image.mode.startswith("I"):
        return image
    # PNG holds no more than 16 bits, even where Pillow opens it in 32.
    return Image.fromarray((np.asarray(image).astype(np.float32) / 257).round().astype(np.uint8))
