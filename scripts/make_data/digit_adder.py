"""Make the competition digit-adder: a digit's image and an integer 0..9, the label is their sum.

    python scripts/make_data/digit_adder.py input/digit-recognizer/train.csv input/digit-adder

reads labelled 28 x 28 digits and holds out a sixth of each digit as the test set; a competition's own test
images are left alone. Written are

    train.csv               label, addend, pixel0, ..., pixel783; label = digit + addend, 0..18
    test.csv                addend, pixel0, ..., pixel783
    sample_submission.csv   ImageId (from 1), Label (0)
    solution.csv            ImageId, Label: the true sums

Rows keep the order they had. Addends are drawn once, each of 0..9 equally likely, and stand in the files, so
that every network is validated on the same sums; the digit, label - addend, is there for training to draw
new ones. The same arguments give the same bytes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from softvote.data.readers.digits import DigitImages, read_csv
from softvote.errors import UserError
from softvote.seeds import derive_seed
from softvote.shell import run_program
from softvote.storage.files import atomic_write

ADDENDS = 10
"""Addends are 0..9."""
HELD_OUT = 6
"""One row in so many is a test row."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0, or 1 after a mistake of the user, which is told in a line."""
    parsed = _parser().parse_args(arguments)
    return run_program("digit_adder", lambda: make(parsed.train, parsed.folder, parsed.seed))


def make(source: Path, folder: Path, seed: int) -> None:
    """Write the competition that is made of a CSV of digits, and say so."""
    if folder.resolve() == source.resolve().parent:
        raise UserError(f"{folder}: holds the digits to read; name another folder")
    digits = read_csv(source, each=HELD_OUT)
    addends = draw_addends(len(digits.labels), seed)
    train, test = split(digits.labels, seed)
    write(tables(digits, addends, train, test), folder)
    print(f"wrote {len(train):,} training and {len(test):,} test rows to {folder}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("train", type=Path, help="labelled digits, such as Digit Recognizer's train.csv")
    parser.add_argument("folder", type=Path, help="where the four files go")
    parser.add_argument(
        "--seed", type=int, default=2026, help="another gives other addends and test rows (%(default)s)"
    )
    return parser


def draw_addends(count: int, seed: int) -> NDArray[np.int64]:
    """int64 (count,), 0..9."""
    return np.random.default_rng(derive_seed(seed, "addend")).integers(0, ADDENDS, count)


def split(labels: NDArray[np.int64], seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Train and test rows in ascending order; a sixth of the rows, and of each digit's, are test rows."""
    train, test = train_test_split(
        np.arange(len(labels)),
        test_size=round(len(labels) / HELD_OUT),
        random_state=derive_seed(seed, "test rows") % 2**32,  # the most scikit-learn takes
        stratify=labels,
    )
    return np.sort(train), np.sort(test)


def tables(
    digits: DigitImages, addends: NDArray[np.int64], train: NDArray[np.int64], test: NDArray[np.int64]
) -> dict[str, str]:
    """The four files' text by their names; `addends` int64 (N,), `train` and `test` rows of `digits`."""
    images, sums = digits.images.reshape(len(digits.images), -1), digits.labels + addends
    pixels = [f"pixel{index}" for index in range(images.shape[1])]
    ids = range(1, len(test) + 1)
    labelled = np.stack([sums, addends], axis=1)
    return {
        "train.csv": _csv(["label", "addend", *pixels], labelled[train].tolist(), images[train]),
        "test.csv": _csv(["addend", *pixels], addends[test, None].tolist(), images[test]),
        "sample_submission.csv": _csv(["ImageId", "Label"], [(row, 0) for row in ids]),
        "solution.csv": _csv(["ImageId", "Label"], zip(ids, sums[test].tolist(), strict=True)),
    }


def _csv(
    header: Sequence[str], cells: Iterable[Sequence[int]], pixels: NDArray[np.uint8] | None = None
) -> str:
    """CSV text of integer cells (N, ...), and behind them pixels uint8 (N, P), where there are any."""
    lines = [",".join(map(str, row)) for row in cells]
    if pixels is not None:
        # Looking up each byte's text takes a tenth of the time that writing millions of cells by pandas does.
        text = [str(value) for value in range(256)]
        behind = (",".join([text[value] for value in row.tobytes()]) for row in pixels)
        lines = [f"{line},{rest}" for line, rest in zip(lines, behind, strict=True)]
    return "\n".join([",".join(header), *lines, ""])


def write(texts: dict[str, str], folder: Path) -> None:
    """Write the files; none takes its name before all are written.

    Raises:
        UserError: the folder cannot be written.
    """
    with ExitStack() as stack:
        for name, text in texts.items():
            temporary = stack.enter_context(atomic_write(folder / name))
            temporary.write_text(text, encoding="utf-8", newline="")


if __name__ == "__main__":
    sys.exit(main())
