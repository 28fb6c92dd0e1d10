"""Make images of four digits, with the digits known, that look like the competition digit-sum.

    python scripts/make_data/four_digits.py input/digit-recognizer/train.csv input/four-digits --count 30000
    python scripts/make_data/four_digits.py images.npy input/four-digits --labels labels.npy

The digits are 28 x 28 on black: a CSV with the column `label` and 784 pixels per row, or two .npy files.
Written are images.npy, uint8 (N, 40, 168); labels.npy, int64 (N,), the sums 0..36; digits.npy, int64 (N, 4),
the digits from left to right. The same arguments give the same bytes, and a larger count begins with the
images of a smaller one.

With --test 6000 the folder is a competition whose test images show digits that no training image shows: a
fifth of the digits, drawn by the seed, make test.npy, sample_submission.csv and solution.csv; the other
files are made from the rest. Without it, images made from Digit Recognizer's train.csv show the very digits
that digit-sum's training images show.

Digits lie as in the competition's images, where the four boxes of 27,139 images of 30,000 were found exactly:
drawn with replacement, at their own size and grey levels; the first box 0..8 columns from the left edge, each
next 14..44 columns after the one before it, so that the last can just reach the right edge; every box 0..12
rows from the top, on its own; each of these numbers equally likely; the brighter pixel where digits overlap.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from softvote.data.digit_layout import FIRST, SIDE, STEP_HIGH, STEP_LOW
from softvote.data.readers.digits import DigitImages, read_csv, read_npy
from softvote.errors import UserError
from softvote.seeds import derive_seed
from softvote.shell import run_program
from softvote.storage.files import atomic_write
from softvote.words import counted

HEIGHT, WIDTH = 40, 168
DIGITS = 4
HELD_OUT = 5
"""With --test, one digit in so many is for the test images alone."""
DROP = HEIGHT - SIDE
"""A digit's box begins in the rows 0..DROP."""
MOST = 1_000_000
"""Images in one go, 6.7 GB: they are made in memory."""


class FourDigits(NamedTuple):
    """Images uint8 (N, 40, 168), 0..255; sums int64 (N,), 0..36; digits int64 (N, 4), left to right."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    digits: NDArray[np.int64]


class Layout(NamedTuple):
    """Which digits stand where: rows of the source, left and top edges of their boxes, each int64 (N, 4)."""

    sources: NDArray[np.int64]
    left: NDArray[np.int64]
    top: NDArray[np.int64]


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0, or 1 after a mistake of the user, which is told in a line."""
    parsed = _parser().parse_args(arguments)
    return run_program("four_digits", lambda: _make(parsed))


def _make(parsed: argparse.Namespace) -> None:
    for option, count, least in (("--count", parsed.count, 1), ("--test", parsed.test, 0)):
        if not least <= count <= MOST:
            raise UserError(f"{option} {count}: no such number of images; give {least} to {MOST:,}")
    if parsed.folder.resolve() in {path.resolve().parent for path in (parsed.source, parsed.labels) if path}:
        raise UserError(f"{parsed.folder}: holds the digits to read; name another folder")
    source, held_out = _read(parsed.source, parsed.labels), None
    if parsed.test:
        source, held_out = hold_out(source, parsed.seed)
    made = make(source, parsed.count, parsed.seed)
    test = None if held_out is None else make(held_out, parsed.test, parsed.seed)
    write(made, test, parsed.folder)
    mean, deviation = pixel_statistics(made.images)
    print(
        f"wrote {counted(parsed.count, 'image')} from {len(source.labels):,} digits to {parsed.folder}: "
        f"pixels {mean:.2f} ± {deviation:.2f}, sums {made.labels.mean():.2f} ± {made.labels.std():.2f}"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="digits: a CSV of labels and pixels, or an .npy of images")
    parser.add_argument("folder", type=Path, help="where the three files go")
    parser.add_argument("--labels", type=Path, metavar="NPY", help="the labels of digits in an .npy file")
    parser.add_argument("--count", type=int, default=30_000, help="images to make (%(default)s)")
    parser.add_argument("--seed", type=int, default=2026, help="another gives other images (%(default)s)")
    parser.add_argument(
        "--test", type=int, default=0, metavar="N", help="also make N test images of digits held out"
    )
    return parser


def _read(source: Path, labels: Path | None) -> DigitImages:
    if labels is not None:
        return read_npy(source, labels)
    if source.suffix == ".npy":
        raise UserError(f"{source}: images without labels; name the file of labels with --labels")
    return read_csv(source)


def make(source: DigitImages, count: int, seed: int) -> FourDigits:
    """`count` images of four digits each, drawn from `source` with replacement."""
    layout = draw_layout(len(source.labels), count, seed)
    digits = source.labels[layout.sources]
    return FourDigits(paste(source.images, layout), digits.sum(axis=1), digits)


def hold_out(source: DigitImages, seed: int) -> tuple[DigitImages, DigitImages]:
    """Four fifths of the digits for training images, and a fifth for test images.

    Raises:
        UserError: fewer digits than that needs.
    """
    if len(source.labels) < HELD_OUT:
        found = counted(len(source.labels), "digit is", "digits are")
        raise UserError(f"--test: {found} too few to hold out a fifth; give more")
    order = np.random.default_rng(derive_seed(seed, "held-out digits")).permutation(len(source.labels))
    test, train = np.split(order, [len(order) // HELD_OUT])
    kept, held_out = (DigitImages(source.images[rows], source.labels[rows]) for rows in (train, test))
    return kept, held_out


def draw_layout(sources: int, count: int, seed: int) -> Layout:
    """Draw digits among 0..sources-1 and where they stand, for `count` images."""
    generator = np.random.default_rng(derive_seed(seed, "four digits"))
    # One line of numbers per image, so that a larger count goes on where a smaller one ended.
    low = [0] * DIGITS + [0] * DIGITS + [0] + [STEP_LOW] * (DIGITS - 1)
    high = [sources - 1] * DIGITS + [DROP] * DIGITS + [FIRST] + [STEP_HIGH] * (DIGITS - 1)
    drawn = generator.integers(low, high, size=(count, 3 * DIGITS), endpoint=True)
    rows, top, steps = np.split(drawn, 3, axis=1)
    return Layout(rows, steps.cumsum(axis=1), top)


def paste(images: NDArray[np.uint8], layout: Layout) -> NDArray[np.uint8]:
    """Digits uint8 (S, 28, 28) on black, uint8 (N, 40, 168); the brighter pixel stays where they overlap."""
    count = len(layout.sources)
    canvas = np.zeros((count, HEIGHT, WIDTH), np.uint8)
    # boxes[n, y, x] is the 28 x 28 box of image n that begins in row y and column x.
    boxes = sliding_window_view(canvas, (SIDE, SIDE), axis=(1, 2), writeable=True)
    everyone = np.arange(count)
    for rows, left, top in zip(layout.sources.T, layout.left.T, layout.top.T, strict=True):
        box = everyone, top, left
        boxes[box] = np.maximum(boxes[box], images[rows])
    return canvas


def pixel_statistics(images: NDArray[np.uint8]) -> tuple[float, float]:
    """Mean and standard deviation of all pixels, from their histogram: exact, and small in memory."""
    histogram = np.zeros(256, np.int64)
    for start in range(0, len(images), 1000):
        histogram += np.bincount(images[start : start + 1000].reshape(-1), minlength=256)
    values = np.arange(256)
    mean = np.average(values, weights=histogram)
    return float(mean), float(np.sqrt(np.average((values - mean) ** 2, weights=histogram)))


def write(made: FourDigits, test: FourDigits | None, folder: Path) -> None:
    """Write the arrays, and the forms of test images; none takes its name before all are written.

    Raises:
        UserError: the folder cannot be written.
    """
    arrays, texts = made._asdict(), dict[str, str]()
    if test is not None:
        arrays["test"] = test.images
        texts["sample_submission.csv"] = _form([0] * len(test.labels))
        texts["solution.csv"] = _form(test.labels.tolist())
    with ExitStack() as stack:
        for name, array in arrays.items():
            temporary = stack.enter_context(atomic_write(folder / f"{name}.npy"))
            np.save(temporary, array, allow_pickle=False)
        for name, text in texts.items():
            stack.enter_context(atomic_write(folder / name)).write_text(text, encoding="utf-8", newline="")


def _form(sums: list[int]) -> str:
    """CSV text of Id, from 0, and Sum, as digit-sum's sample submission has them."""
    return "\n".join(["Id,Sum", *(f"{row},{total}" for row, total in enumerate(sums)), ""])


if __name__ == "__main__":
    sys.exit(main())
