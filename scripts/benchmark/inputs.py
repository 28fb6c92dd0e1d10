"""The images that both loops learn from."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.cases import FIVE, SUMS, Case
from softvote.data.dataset import read_dataset
from softvote.errors import UserError
from softvote.storage.files import write_text
from softvote.storage.paths import Workspace


def lay_out_inputs(root: Path, competitions: set[str], parsed: argparse.Namespace) -> dict[str, str]:
    """Bring the competitions' files under `root`; where each is from, in words.

    Raises:
        UserError: a folder that was named is not there.
    """
    origins = {}
    makers = {FIVE: (parsed.data, _digits_of_scikit_learn), SUMS: (parsed.sums, _sums_of_digits)}
    for name in sorted(competitions | {FIVE}):  # sums may be made of the digits
        named, make = makers[name]
        source, place = named or Path("input") / name, Workspace(root).input(name)
        if source.is_dir():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(source.resolve())
            origins[name] = str(source)
        elif named:
            raise UserError(f"{named}: no such folder; name one of {name}'s files, or leave the option out")
        else:
            origins[name] = make(root, place)
    return {name: origins[name] for name in origins if name in competitions}


def _digits_of_scikit_learn(root: Path, place: Path) -> str:
    """1,797 digits of 8 x 8 at three times their size; every sixth is a test image."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    larger = np.round(digits.images * (255 / 16)).astype(np.uint8).repeat(3, axis=1).repeat(3, axis=2)
    pixels = np.pad(larger, ((0, 0), (2, 2), (2, 2))).reshape(len(larger), -1)
    is_test = np.arange(len(pixels)) % 6 == 5
    columns = [f"pixel{index}" for index in range(pixels.shape[1])]
    labelled = np.column_stack([digits.target, pixels])[~is_test]
    forms = [(row, 0) for row in range(1, is_test.sum() + 1)]
    write_text(place / "train.csv", _csv(["label", *columns], labelled))
    write_text(place / "test.csv", _csv(columns, pixels[is_test]))
    write_text(place / "sample_submission.csv", _csv(["ImageId", "Label"], forms))
    return "input/digit-recognizer is missing: scikit-learn's digits, enlarged to 28 x 28"


def _sums_of_digits(root: Path, place: Path) -> str:
    """2,000 images of four digits each, in three parts as the competition has them."""
    from make_data import four_digits  # in the folder beside this package

    from softvote.data.readers.digits import read_csv

    source = read_csv(Workspace(root).input(FIVE) / "train.csv")
    made = four_digits.make(source, 2000, seed=2026)
    place.mkdir(parents=True)
    parts = zip(np.array_split(made.images, 4), np.array_split(made.labels, 4), strict=True)
    for part, (images, labels) in enumerate(parts):
        name = f"data{part}.npy" if part < 3 else "test.npy"
        np.save(place / name, images)
        if part < 3:
            np.save(place / f"lab{part}.npy", labels)
    write_text(place / "sample_submission.csv", _csv(["Id", "Sum"], [(row, 0) for row in range(len(images))]))
    return "input/digit-sum is missing: made of the digits by scripts/make_data/four_digits.py"


def _csv(header: Sequence[str], rows: Any) -> str:
    return "\n".join([",".join(header), *(",".join(map(str, row)) for row in rows), ""])


@dataclass(frozen=True)
class Images:
    """Pixels uint8 (n, C, H, W), and what they show, int64 (n,)."""

    pixels: NDArray[np.uint8]
    values: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64]) -> Images:
        return Images(self.pixels[rows], self.values[rows])


def images_of(case: Case, root: Path) -> Images:
    """The training images of a case's competition."""
    dataset = read_dataset(case.competition, Workspace(root))
    return Images(dataset.train_pixels, dataset.train.image_labels)
