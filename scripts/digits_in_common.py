"""How many digits of digit-sum's images are those of Digit Recognizer, pixel for pixel?

    python scripts/digits_in_common.py input/digit-sum input/digit-recognizer

Digits that touch nothing can be compared: the first of each image, where blank columns follow it. Printed is
the share of them that occurs in each CSV, for training and test images, and how many of the training images'
occur in other training images. A validation image's digits are seen in training as often.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

_ALONE = range(3, 21)
"""Columns of ink that one digit has; a wider piece is two that touch."""


def main() -> int:
    """Returns 0, or 1 where a file is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sums", type=Path, help="the folder of digit-sum")
    parser.add_argument("digits", type=Path, help="the folder of digit-recognizer")
    parsed = parser.parse_args()
    try:
        images = {
            "training images": np.concatenate(
                [np.load(parsed.sums / f"data{part}.npy") for part in range(3)]
            ),
            "test images": np.load(parsed.sums / "test.npy"),
        }
        digits = {name: digits_of_csv(parsed.digits / name) for name in ("train.csv", "test.csv")}
    except FileNotFoundError as error:
        print(f"digits_in_common: {error.filename}: is missing; make data ZIP=...", file=sys.stderr)
        return 1
    for name, each in images.items():
        found = first_digits(each)
        shares = ", ".join(
            f"{np.mean([digit in known for digit in found]):.1%} in {csv}" for csv, known in digits.items()
        )
        print(f"{len(found):,} first digits of {name}: {shares}")
    times = Counter(first_digits(images["training images"]))
    again = sum(count for count in times.values() if count > 1) / times.total()
    print(f"{again:.1%} of the training images' first digits are the first of another one as well")
    return 0


def digits_of_csv(path: Path) -> set[bytes]:
    """Every digit of a CSV of 784 pixels per row, without the black around it."""
    table = pd.read_csv(path)
    pixels = table.drop(columns="label", errors="ignore").to_numpy(np.uint8).reshape(-1, 28, 28)
    return {trim(image) for image in pixels}


def first_digits(images: NDArray[np.uint8]) -> list[bytes]:
    """The first digit of each image uint8 (N, H, W) that touches no other, without the black around it."""
    found = []
    for image in images:
        ink = image.any(axis=0)
        left = int(ink.argmax())
        width = int((~ink[left:]).argmax())
        if width in _ALONE:
            found.append(trim(image[:, left : left + width]))
    return found


def trim(image: NDArray[np.uint8]) -> bytes:
    """A key of the pixels within the box that holds all ink."""
    rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
    if not len(rows):
        return b""
    box = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return bytes(box.shape) + box.tobytes()


if __name__ == "__main__":
    sys.exit(main())
