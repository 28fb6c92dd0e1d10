"""A pipeline file written from what a folder of competition files looks like, for a person to go on from."""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from softvote.config.schema import checked_name
from softvote.data.csv_table import Table, open_table
from softvote.data.id_label_table import read_id_label_table
from softvote.data.readers.image_folder import SUFFIXES, path_of
from softvote.data.readers.npy import load_array
from softvote.errors import ErrorCollector, UserError

LABEL_NAMES = ("label", "labels", "class", "target", "category", "digit", "sum", "y")


ID_NAMES = ("id", "image_id", "imageid", "img_id", "filename", "file_name", "file", "image", "index")


LARGEST = 224
"""Image files with a longer side are scaled down to this."""


SMALL = 64
"""Images up to this side do without a deep backbone."""


Size = tuple[int, int]


@dataclass(frozen=True)
class DetectedLayout:
    """What a folder holds: how its files are laid out, the images' size, and every train label."""

    files: dict[str, Any]
    height: int
    width: int
    channels: int
    labels: Sequence[str]
    resize: bool = False


def detect_layout(folder: Path, name: str, image: Size | None = None) -> str:
    """The text of a pipeline file for a folder of competition files.

    Args:
        folder: holds the files, as downloaded.
        name: the competition's.
        image: height and width, where a CSV's number of pixels does not tell them, or where image
            files shall be resized.

    Raises:
        UserError: nothing there looks like a competition, or what does is damaged.
    """
    try:
        checked_name(name)
    except ValueError as error:
        raise UserError(str(error)) from None
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; get it with: make data ZIP=path/to/{name}.zip")
    sample = _first(folder, "*sample*sub*.csv", "*submission*.csv", "*sample*.csv", "*example*.csv")
    found = _npy(folder) or _image_folder(folder, sample, image) or _pixel_csv(folder, image, name)
    if found is None or sample is None:
        missing = "sample submission (*submission*.csv)" if found else "train and test as CSV, images or .npy"
        raise UserError(f"{folder}: found no {missing}; write pipelines/{name}.yaml by hand")
    return _text(name, found, sample, _first(folder, "solution.csv"))


def _npy(folder: Path) -> DetectedLayout | None:
    """Arrays of rank 3 or 4 are images, of rank 1 labels; `test` in a name tells the test images."""
    problems, paths = ErrorCollector(), sorted(folder.glob("*.npy"), key=_natural)
    arrays = {path.name: array for path in paths if (array := load_array(path, problems)) is not None}
    problems.raise_any()
    images = [name for name, array in arrays.items() if array.ndim in (3, 4)]
    test = [name for name in images if "test" in name.lower()]
    train = [name for name in images if name not in test]
    vectors = [name for name, array in arrays.items() if array.ndim == 1 and array.dtype.kind in "iu"]
    labels = [name for name in vectors if "test" not in name.lower()]
    if not (train and labels and test):
        return None
    files = {"format": "npy", "train": train, "train_labels": labels, "test": test}
    height, width, channels = (*arrays[train[0]].shape[1:], 1)[:3]
    texts = [str(label) for label in np.concatenate([arrays[name] for name in labels]).tolist()]
    return DetectedLayout(files, height, width, channels, texts)


def _image_folder(folder: Path, sample: str | None, image: Size | None) -> DetectedLayout | None:
    """A train CSV with a column that names image files, and a folder of images for test."""
    folders = _folders_of_images(folder)
    train_images = _likeliest(folders, "train")
    test_images = _likeliest(folders, "test")
    train_csv = _train_csv(folder)
    if not (sample and train_images and test_images and train_csv):
        return None
    table = _table(folder / train_csv)
    named = _column_of_files(table, folder / train_images)
    if named is None:
        return None
    id_name, suffix = named
    label = _label_column(table, [name for name in table.header if name != id_name])
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


def _pixel_csv(folder: Path, image: Size | None, name: str) -> DetectedLayout | None:
    """A train and a test CSV with the same columns, but for the label."""
    train_csv, test_csv = _train_csv(folder), _first(folder, "test.csv", "testing.csv", "*test*.csv")
    if not (train_csv and test_csv):
        return None
    train, test = _table(folder / train_csv), _table(folder / test_csv)
    label = _label_column(train, [column for column in train.header if column not in test.header])
    id_name = next((column for column in test.header if column.lower() in ID_NAMES), None)
    files = {"format": "pixel_csv", "train": train_csv, "test": test_csv, "label": label}
    files |= {"id": id_name} if id_name in train.header else {}
    count = len([column for column in train.header if column not in (label, files.get("id"))])
    height, width, channels = _size_of_pixels(count, image, train.path, name)
    return DetectedLayout(files, height, width, channels, train.column(label))


def _natural(path: Path) -> list[tuple[int, str]]:
    """data10 after data9."""
    return [(int(part or 0), text) for text, part in re.findall(r"(\D*)(\d*)", path.name.lower())]


def _first(folder: Path, *patterns: str) -> str | None:
    """The name of the first file that fits, earlier patterns before later ones."""
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    return next((name for pattern in patterns for name in names if fnmatch(name.lower(), pattern)), None)


def _train_csv(folder: Path) -> str | None:
    return _first(folder, "train.csv", "training.csv", "train*label*.csv", "*train*.csv", "*label*.csv")


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


def _table(path: Path) -> Table:
    problems = ErrorCollector()
    table = open_table(path, problems)
    problems.raise_any()
    assert table, "a table that cannot be read has a problem"
    return table


def _column_of_files(table: Table, folder: Path) -> tuple[str, str] | None:
    """The column that names image files, and the suffix it leaves out."""
    for column in table.header:
        name = table.column(column)[0]
        path = path_of(folder, name, "") if name else None
        if path:
            return column, path.name.removeprefix(Path(name).name)
    return None


def _label_column(table: Table, candidates: list[str]) -> str:
    """The candidate with a usual name, else the only one."""
    usual = [name for name in candidates if name.lower() in LABEL_NAMES]
    if usual or len(candidates) == 1:
        return (usual or candidates)[0]
    usual = [name for name in table.header if name.lower() in LABEL_NAMES]
    if usual:
        return usual[0]
    tried = ", ".join(LABEL_NAMES)
    raise UserError(
        f"{table.path}, row 1: no column looks like the label ({tried}); write the pipeline by hand"
    )


def _size_of_pixels(count: int, image: Size | None, path: Path, name: str) -> tuple[int, int, int]:
    """Height, width and channels of images with so many pixel columns."""
    for channels in (1, 3):
        side = math.isqrt(count // channels)
        height, width = image or (side, side)
        if count and height * width * channels == count:
            return height, width, channels
    tried = f"neither {image[0]} x {image[1]}" if image else "neither a square"
    fix = f"pass --image HxW, or write pipelines/{name}.yaml by hand"
    raise UserError(f"{path}, row 1: {count} pixel columns are {tried} in one channel nor in three; {fix}")


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
            raise UserError(f"{path}: is not an image that can be read; download it again") from None
    height, width = image or _limited(*sizes.most_common(1)[0][0])
    return height, width, channels, set(sizes) != {(height, width)}


def _limited(height: int, width: int) -> Size:
    shrink = min(1.0, LARGEST / max(height, width))
    return max(1, round(height * shrink)), max(1, round(width * shrink))


def _text(name: str, found: DetectedLayout, sample: str, solution: str | None) -> str:
    image = {"height": found.height, "width": found.width, "channels": found.channels}
    competition = {
        "name": name,
        "files": found.files,
        "image": image | ({"resize": True} if found.resize else {}),
        "labels": _labels(found.labels),
        "sample_submission": sample,
    }
    second = "resnet5" if max(found.height, found.width) <= SMALL else "resnet18"
    pipeline = {
        "competition": competition | ({"solution": solution} if solution else {}),
        "folds": {"count": 5},
        "defaults": _defaults(min(found.height, found.width)),
        "members": {"cnn": {"model": "cnn"}, second: {"model": second}},
    }
    opening = f"# Written from the files in input/{name}; see that it is what the competition says.\n"
    return opening + yaml.safe_dump(
        pipeline, sort_keys=False, default_flow_style=None, allow_unicode=True, width=110
    )


def _labels(labels: Sequence[str]) -> dict[str, int] | list[str]:
    """A range where nearly every integer in it occurs (a rare sum may not), else the names."""
    names = sorted({label.strip() for label in labels})
    if len(names) < 2:
        raise UserError(f"the train labels are all '{''.join(names)}'; mend the label column")
    if all(re.fullmatch("0|-?[1-9][0-9]{0,8}", name) for name in names):
        numbers = sorted(map(int, names))
        if len(numbers) >= 0.9 * (numbers[-1] - numbers[0] + 1):
            return {"first": numbers[0], "last": numbers[-1]}
        return [str(number) for number in numbers]
    return names


def _defaults(side: int) -> dict[str, Any]:
    """A short schedule with mild augmentation; strong augmentation needs thirty epochs and more."""
    return {
        "epochs": 12,
        "augment": {"rotate": 10, "scale": 0.1, "shear": 6, "shift": max(1, round(side / 14))},
        "plain_epochs": 1,
    }
