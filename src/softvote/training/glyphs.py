"""Glyphs: single drawings of digits, cut from images of several, with digits that sums have told.

Where a digit stands free (columns without ink on both sides), it can be cut out. The same drawing stands in
several images and is known again pixel for pixel; belief propagation can tell its digit from their sums.

Nothing that validates has a part in it: a network that was trained without those rows reads the rows that it
was trained on; the sums of validation rows are not used, and every glyph that is seen in one of their images
is left out.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from softvote.data.dataset import Dataset
from softvote.data.digit_layout import SIDE
from softvote.inference.record import TrainingRecord
from softvote.storage.files import atomic_write
from softvote.storage.fingerprints import fingerprint
from softvote.storage.locks import file_lock
from softvote.storage.paths import FoldFolder
from softvote.training.belief_propagation import propagate

GLYPHS_VERSION = 1
"""Bumped whenever the same readings give other glyphs."""


_INK = 20
"""Digits are drawn this large at most, and in one direction nearly so; what is wider holds two."""


_LEAST = 15  # a whole digit is so high or so wide; what is smaller broke off


_NEAR = 3  # columns between a digit and a part of it that broke off


_EDGE = 4  # columns by which a glyph is recognised whose other side touches its neighbour


_BELIEVED = 0.98  # of a reading; the rest is spread over all digits, because a network is too sure of itself


_SURE = 0.9  # probability of its digit that a glyph must have


_CHUNK = 8192  # runs cut at once


@dataclass(frozen=True)
class Glyphs:
    """Different drawings of digits.

    Attributes:
        images: uint8 (G, 28, 28), white on black, centred by mass.
        digits: int64 (G,), 0..9.
    """

    images: NDArray[np.uint8]
    digits: NDArray[np.int64]


@dataclass(frozen=True)
class Runs:
    """Neighbouring columns with ink, from left to right, image after image.

    Attributes:
        image: int64 (R,), the image's number.
        start: int64 (R,), the first column.
        end: int64 (R,), the column after the last.
    """

    image: NDArray[np.int64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]

    @property
    def width(self) -> NDArray[np.int64]:
        """Columns of each, int64 (R,)."""
        return self.end - self.start

    def take(self, which: NDArray[np.bool_] | NDArray[np.int64] | slice) -> Runs:
        """Some of them: bool (R,), positions int64 (n,), or a slice."""
        return Runs(self.image[which], self.start[which], self.end[which])


def any_glyphs() -> Glyphs:
    """Stand-ins, for where it matters only how long learning from glyphs takes."""
    draw = np.random.default_rng(0)
    return Glyphs(draw.integers(0, 256, (100, SIDE, SIDE), np.uint8), draw.integers(0, 10, 100))


def glyphs_of(folder: FoldFolder, dataset: Dataset, held_out: NDArray[np.bool_]) -> Glyphs:
    """The glyphs of the rows that a fold's network was trained on; found once, and kept in its folder.

    Args:
        folder: of a trained network that says where it looks.
        held_out: bool (N,), the rows that validate.
    """
    rows = hashlib.sha256(held_out.tobytes()).hexdigest()
    record = TrainingRecord.read(folder.recipe)
    weights = record.weights_sha256 if record else None
    key = fingerprint([GLYPHS_VERSION, weights, dataset.train_fingerprint, rows])
    with file_lock(folder.glyphs):  # several members of a fold ask for them at once
        found = _load_kept(folder.glyphs, key)
        if found is None:
            found = _find_by(folder, dataset, held_out)
            with atomic_write(folder.glyphs) as temporary:
                np.savez(temporary, key=key, images=found.images, digits=found.digits)
    return found


def _load_kept(path: Path, key: str) -> Glyphs | None:
    try:
        with np.load(path) as kept:
            return Glyphs(kept["images"], kept["digits"]) if kept["key"] == key else None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _find_by(folder: FoldFolder, dataset: Dataset, held_out: NDArray[np.bool_]) -> Glyphs:
    from softvote.inference.loading import load_predictor

    images, predictor = dataset.train_pixels, load_predictor(folder)
    learnt, others = np.flatnonzero(~held_out), np.flatnonzero(held_out)
    seen, sums = images[learnt], dataset.train_labels[learnt]
    readings, centres = predictor.digits(seen)
    return find_glyphs(seen[:, 0], sums, readings, centres, images[others][:, 0])


def find_glyphs(
    images: NDArray[np.uint8],
    sums: NDArray[np.int64],
    readings: NDArray[np.float32],
    centres: NDArray[np.float32],
    others: NDArray[np.uint8],
) -> Glyphs:
    """The different glyphs of images of which nothing but sums is known, with their digits.

    Args:
        images: uint8 (N, H, W), that a network was trained on.
        sums: int64 (N,), of their digits.
        readings: float32 (N, S, 10), probabilities of their digits as the network reads them.
        centres: float32 (N, S), the column around which it found each.
        others: uint8 (M, H, W), images that validate: a glyph that is seen in them is left out.

    Returns:
        those whose digit is sure.
    """
    runs = find_runs(images)
    if not len(runs.image):
        return Glyphs(np.zeros((0, SIDE, SIDE), np.uint8), np.zeros(0, np.int64))
    free = assign(runs, centres)
    cut, whole = cut_out(images, runs)
    glyph_of_run, first = _number_glyphs(cut, whole)
    glyphs = np.where(free >= 0, glyph_of_run[free], -1)
    apart = glyphs < 0
    glyphs[apart] = len(first) + np.arange(np.count_nonzero(apart))
    believed = _BELIEVED * readings.astype(np.float64) + (1 - _BELIEVED) / readings.shape[2]
    digits = propagate(believed, glyphs, sums)
    standing = np.unique(glyphs[~apart])  # parts of digits and pairs of them are runs too
    kept = standing[digits[standing].max(axis=1) >= _SURE]
    kept = kept[~_find_seen(others, images, runs, first[kept], cut)]
    return Glyphs(cut[first[kept]], digits[kept].argmax(axis=1))


def find_runs(images: NDArray[np.uint8]) -> Runs:
    """Every run of columns with ink, uint8 (N, H, W)."""
    ink = np.zeros((len(images), images.shape[2] + 2), np.int8)
    ink[:, 1:-1] = images.any(axis=1)
    change = np.diff(ink, axis=1)
    image, start = np.nonzero(change == 1)
    _, end = np.nonzero(change == -1)
    return Runs(image, start, end)


def assign(runs: Runs, centres: NDArray[np.float32]) -> NDArray[np.int64]:
    """The run of each digit that stands free, int64 (N, S); -1 for one that does not.

    Where there are as many runs as digits, they go together from left to right. Elsewhere a digit is in the
    nearest run, and free if it has that for itself and no part without a digit is near.

    Args:
        centres: float32 (N, S), the column around which each digit was found.
    """
    count, digits = centres.shape
    if not len(runs.image):
        return np.full(centres.shape, -1)
    number = np.bincount(runs.image, minlength=count)
    begin = np.concatenate([[0], number.cumsum()])[:-1]
    table = np.minimum(begin[:, None] + np.arange(number.max()), len(runs.image) - 1)
    there = np.arange(table.shape[1]) < number[:, None]
    centre = centres[:, :, None]
    far = np.maximum(runs.start[table][:, None] - centre, centre - (runs.end[table][:, None] - 1))
    nearest = np.where(there[:, None], np.maximum(far, 0), np.inf).argmin(axis=2)
    ranks = centres.argsort(axis=1).argsort(axis=1)
    run = begin[:, None] + np.where(number[:, None] == digits, ranks, nearest)
    run = np.where(number[:, None] > 0, run, -1)
    held = np.bincount(run[run >= 0], minlength=len(runs.image))
    free = (held == 1) & (runs.width <= _INK) & ~_beside_a_part(runs, held)
    return np.where((run >= 0) & free[run], run, -1)


def _beside_a_part(runs: Runs, held: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether near each run is one without a digit, which may have broken off; bool (R,)."""
    near = (runs.image[1:] == runs.image[:-1]) & (runs.start[1:] - runs.end[:-1] <= _NEAR)
    beside = np.zeros(len(held), bool)
    beside[:-1] |= near & (held[1:] == 0)
    beside[1:] |= near & (held[:-1] == 0)
    return beside


def cut_out(images: NDArray[np.uint8], runs: Runs) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """What stands in each run, in a box of its own.

    Returns:
        uint8 (R, 28, 28), centred by mass to a pixel; bool (R,), whether all of it is in the box and large
        enough for a digit.
    """
    parts = [
        _cut_out(images, runs.take(slice(start, start + _CHUNK)))
        for start in range(0, len(runs.image), _CHUNK)
    ]
    if not parts:
        return np.zeros((0, SIDE, SIDE), np.uint8), np.zeros(0, bool)
    return np.concatenate([boxes for boxes, _ in parts]), np.concatenate([whole for _, whole in parts])


def _cut_out(images: NDArray[np.uint8], runs: Runs) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    window = _columns(images, runs.image, runs.start, runs.width, SIDE)
    mass = window.sum(axis=(1, 2), dtype=np.float64)
    left, top = (_first_of_box(window.sum(axis=axis, dtype=np.float64), mass) for axis in (1, 2))
    padded = np.pad(window, ((0, 0), (SIDE, SIDE), (SIDE, SIDE)))
    side = np.arange(SIDE) + SIDE
    across, down = left[:, None] + side, top[:, None] + side
    boxes = padded[np.arange(len(window))[:, None, None], down[:, :, None], across[:, None, :]]
    whole = (runs.width <= SIDE) & (boxes.sum(axis=(1, 2), dtype=np.float64) == mass)
    large = np.maximum(boxes.any(axis=1).sum(axis=1), boxes.any(axis=2).sum(axis=1)) >= _LEAST
    return boxes, whole & large


def _first_of_box(profile: NDArray[np.float64], mass: NDArray[np.float64]) -> NDArray[np.int64]:
    """Where a box begins whose middle is the centre of mass; profile float64 (R, length)."""
    centre = profile @ np.arange(profile.shape[1]) / mass
    return np.round(centre - SIDE / 2).astype(np.int64)


def _columns(
    images: NDArray[np.uint8],
    image: NDArray[np.int64],
    start: NDArray[np.int64],
    width: NDArray[np.int64],
    most: int,
) -> NDArray[np.uint8]:
    """uint8 (R, H, most): columns of images from `start` on, black after `width` of them."""
    across = start[:, None] + np.arange(most)
    inside = np.arange(most) < width[:, None]
    across = np.minimum(across, images.shape[2] - 1)
    found = images[image[:, None, None], np.arange(images.shape[1])[:, None], across[:, None, :]]
    return np.where(inside[:, None, :], found, 0)


def _number_glyphs(
    cut: NDArray[np.uint8], whole: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The glyph of each run, int64 (R,), -1 where it is not whole; and the first run of each glyph."""
    positions = np.flatnonzero(whole)
    names = np.array(list(_digests(cut[whole])), dtype="S16")
    _, first, number = np.unique(names, return_index=True, return_inverse=True)
    glyph_of_run = np.full(len(cut), -1)
    glyph_of_run[positions] = number
    return glyph_of_run, positions[first]


def _digests(images: NDArray[np.uint8]) -> Iterator[bytes]:
    """Sixteen bytes for each that stand for its pixels; hexadecimal, as NumPy's strings end at a zero."""
    for image in images:
        yield hashlib.blake2b(image.tobytes(), digest_size=8).hexdigest().encode()


def _find_seen(
    others: NDArray[np.uint8],
    images: NDArray[np.uint8],
    runs: Runs,
    chosen: NDArray[np.int64],
    cut: NDArray[np.uint8],
) -> NDArray[np.bool_]:
    """Which of the chosen runs show a glyph that stands in other images, free or touching; bool, one each.

    One that touches a neighbour on one side is known by its edge on the other.
    """
    theirs, ours = find_runs(others), runs.take(chosen)
    there, whole = cut_out(others, theirs)
    known = set(_digests(there[whole]))
    seen = np.array([name in known for name in _digests(cut[chosen])], bool)
    for right in (False, True):
        edges = set(_digests(_edges(others, theirs.take(theirs.width > _EDGE), right)))
        mine = _digests(_edges(images, ours, right))
        seen |= (ours.width > _EDGE) & np.array([name in edges for name in mine], bool)
    return seen


def _edges(images: NDArray[np.uint8], runs: Runs, right: bool) -> NDArray[np.uint8]:
    """The first or last columns of each run, moved up to their first row with ink: uint8 (R, H, 4)."""
    start = np.maximum(runs.end - _EDGE, 0) if right else runs.start
    edge = _columns(images, runs.image, start, np.full(len(start), _EDGE), _EDGE)
    top = edge.any(axis=2).argmax(axis=1)
    down = top[:, None] + np.arange(images.shape[1])
    padded = np.pad(edge, ((0, 0), (0, images.shape[1]), (0, 0)))
    return np.asarray(padded[np.arange(len(edge))[:, None], down])
