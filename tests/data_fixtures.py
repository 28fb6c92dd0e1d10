"""Small competitions written to disk, one writer a file format."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from softvote.config.competition import Competition

TRAIN, TEST = 30, 12
TEST_IDS = [str(row + 1) for row in range(TEST)]

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


def competition_of(files: dict[str, Any], **facts: Any) -> Competition:
    """The competition 'digits', 8 x 8, labels 0..9, with `facts` over these."""
    usual = {"name": "digits", "image": {"height": 8, "width": 8}, "labels": {"first": 0, "last": 9}}
    return Competition.model_validate(usual | {"files": files} | facts)


def side_by_side(digits: tuple[Pixels, Labels], rows: int, seed: int = 0) -> tuple[Pixels, Labels]:
    """Pairs of digits drawn at random: images (rows, H, 2 W), and the two digits (rows, 2) of each."""
    images, labels = digits
    pairs = np.random.default_rng(seed).integers(len(labels), size=(rows, 2))
    return np.concatenate([images[pairs[:, 0]], images[pairs[:, 1]]], axis=2), labels[pairs]


def write_pixel_csv(folder: Path, images: Pixels, labels: Labels) -> dict[str, Any]:
    names = [f"pixel{index}" for index in range(images[0].size)]
    flat = images.reshape(len(images), -1).tolist()
    train = [[label, *row] for label, row in zip(labels[:TRAIN].tolist(), flat[:TRAIN], strict=True)]
    write_csv(folder / "train.csv", ["label", *names], train)
    write_csv(folder / "test.csv", names, flat[TRAIN:])
    return {"format": "pixel_csv"}


def write_image_folder(folder: Path, images: Pixels, labels: Labels) -> dict[str, Any]:
    ids = [f"digit_{row}" for row in range(TRAIN)]
    for split, names, pixels in (("train", ids, images[:TRAIN]), ("test", TEST_IDS, images[TRAIN:])):
        (folder / split).mkdir()
        for name, image in zip(names, pixels, strict=True):
            Image.fromarray(image).save(folder / split / f"{name}.png")
    write_csv(folder / "train.csv", ["id", "label"], list(zip(ids, labels[:TRAIN].tolist(), strict=True)))
    return {"format": "image_folder", "suffix": ".png"}


def write_npy(folder: Path, images: Pixels, labels: Labels) -> dict[str, Any]:
    half = TRAIN // 2
    for part, rows in enumerate((slice(0, half), slice(half, TRAIN))):
        np.save(folder / f"data{part}.npy", images[rows])
        np.save(folder / f"lab{part}.npy", labels[rows])
    np.save(folder / "test.npy", images[TRAIN:])
    files = {"train": ["data0.npy", "data1.npy"], "train_labels": ["lab0.npy", "lab1.npy"]}
    return {"format": "npy", **files, "test": ["test.npy"]}


def write_class_folders(folder: Path, images: Pixels, labels: Labels) -> dict[str, Any]:
    for row, (image, label) in enumerate(zip(images[:TRAIN], labels[:TRAIN].tolist(), strict=True)):
        (folder / "train" / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / "train" / str(label) / f"digit_{row:02}.png")
    write_test_images(folder, images)
    return {"format": "class_folders"}


def write_file_names(folder: Path, images: Pixels, labels: Labels) -> dict[str, Any]:
    (folder / "train").mkdir()
    for row, (image, label) in enumerate(zip(images[:TRAIN], labels[:TRAIN].tolist(), strict=True)):
        Image.fromarray(image).save(folder / "train" / f"{label}.{row:02}.png")
    write_test_images(folder, images)
    return {"format": "file_names"}


def write_test_images(folder: Path, images: Pixels) -> None:
    (folder / "test").mkdir()
    for name, image in zip(TEST_IDS, images[TRAIN:], strict=True):
        Image.fromarray(image).save(folder / "test" / f"{name}.png")


def write_parquet(folder: Path, images: Pixels, labels: Labels) -> dict[str, Any]:
    import pyarrow
    import pyarrow.parquet

    ids = [f"digit_{row}" for row in range(TRAIN)]
    for split, names, part in (("train", ids, images[:TRAIN]), ("test", TEST_IDS, images[TRAIN:])):
        flat = part.reshape(len(part), -1)
        columns = {"id": names} | {str(place): flat[:, place] for place in range(flat.shape[1])}
        pyarrow.parquet.write_table(pyarrow.table(columns), folder / f"{split}.parquet")
    write_csv(folder / "train.csv", ["id", "label"], list(zip(ids, labels[:TRAIN].tolist(), strict=True)))
    return {"format": "parquet"}


def write_json_bands(folder: Path, images: Pixels, labels: Labels) -> dict[str, Any]:
    bands = ["image"] if images.ndim == 3 else [f"band_{band}" for band in range(images.shape[3])]
    flat = images.reshape(len(images), -1, len(bands)).tolist()
    records = [
        {"id": name}
        | dict(zip(bands, ([*map(float, band)] for band in zip(*pixels, strict=True)), strict=True))
        for name, pixels in zip([f"digit_{row}" for row in range(TRAIN)] + TEST_IDS, flat, strict=True)
    ]
    for record, label in zip(records[:TRAIN], labels[:TRAIN].tolist(), strict=True):
        record["label"] = label
    (folder / "train.json").write_text(json.dumps(records[:TRAIN]))
    (folder / "test.json").write_text(json.dumps(records[TRAIN:]))
    return {"format": "json", "bands": bands}


def reading_order(file_format: str, labels: Labels) -> Labels:
    """The rows of the 30 training images in the order in which they are read."""
    if file_format in ("class_folders", "file_names"):
        return np.argsort(labels[:TRAIN], kind="stable")
    return np.arange(TRAIN)


WRITERS: dict[str, Callable[[Path, Pixels, Labels], dict[str, Any]]] = {
    "pixel_csv": write_pixel_csv,
    "image_folder": write_image_folder,
    "npy": write_npy,
    "class_folders": write_class_folders,
    "file_names": write_file_names,
    "parquet": write_parquet,
    "json": write_json_bands,
}


def write_competition(
    folder: Path, file_format: str, digits: tuple[Pixels, Labels], **facts: Any
) -> Competition:
    """30 train and 12 test digits with a sample submission and a solution, in a format."""
    folder.mkdir(parents=True)
    images, labels = digits[0][: TRAIN + TEST], digits[1][: TRAIN + TEST]
    files = WRITERS[file_format](folder, images, labels)
    write_csv(folder / "sample_submission.csv", ["Id", "Label"], [[name, 0] for name in TEST_IDS])
    solution = list(zip(TEST_IDS, labels[TRAIN:].tolist(), strict=True))
    write_csv(folder / "solution.csv", ["Id", "Label"], solution)
    return competition_of(files, **facts)
