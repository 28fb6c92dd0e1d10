"""Glyphs cut from images of several digits, and what nothing that validates may have a part in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from digit_images import HEIGHT, WIDTH, Made, blots, make
from numpy.typing import NDArray

from softvote.data.dataset import Dataset
from softvote.data.digit_layout import SIDE
from softvote.inference.record import ExecutionRecord, TrainingRecord
from softvote.storage.paths import FoldFolder
from softvote.training import glyphs
from softvote.training.glyphs import Glyphs, assign, cut_out, find_glyphs, find_runs, glyphs_of


def rows_of(found: Glyphs, sources: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Which source each glyph is, pixel for pixel; -1 for one that is none."""
    row_of = {image.tobytes(): row for row, image in enumerate(sources)}
    return np.array([row_of.get(image.tobytes(), -1) for image in found.images])


def test_runs_are_columns_with_ink() -> None:
    images = np.zeros((3, 2, 9), np.uint8)
    images[0, 0, [0, 1, 4]] = images[2, 1, [7, 8]] = 1
    images[2, 0, 7] = 1
    runs = find_runs(images)
    assert runs.image.tolist() == [0, 0, 2]
    assert list(zip(runs.start.tolist(), runs.end.tolist(), strict=True)) == [(0, 2), (4, 5), (7, 9)]


def test_what_is_cut_out_is_the_drawing_itself_wherever_it_stands() -> None:
    sources = blots(6)
    images = np.zeros((6, HEIGHT, WIDTH), np.uint8)
    for place, source in enumerate(sources):
        images[place, 2 * place : 2 * place + SIDE, 25 * place : 25 * place + SIDE] = source
    boxes, whole = cut_out(images, find_runs(images))
    assert whole.all()
    np.testing.assert_array_equal(boxes, sources)


def test_what_is_too_small_or_too_large_is_no_digit() -> None:
    images = np.zeros((1, HEIGHT, WIDTH), np.uint8)
    images[0, 5, 3:6] = images[0, 5:25, 20:52] = 255
    assert cut_out(images, find_runs(images))[1].tolist() == [False, False]


def runs_at(*places: tuple[int, int]) -> glyphs.Runs:
    start, end = np.array(places).T
    return glyphs.Runs(np.zeros(len(places), np.int64), start, end)


@pytest.mark.parametrize(
    ("runs", "centres", "expected"),
    [
        ([(0, 9), (20, 30), (40, 44)], [4, 25, 42], [0, 1, 2]),
        ([(0, 9), (20, 30), (40, 44)], [42, 4, 25], [2, 0, 1]),  # slots in any order
        ([(0, 9), (20, 30), (40, 44)], [4, 31, 33], [0, 1, 2]),  # as many as digits: from left to right
        ([(0, 9), (20, 40)], [4, 25, 35], [0, -1, -1]),  # two in one run
        ([(0, 9), (20, 40)], [4, 25, 12], [-1, 1, -1]),
        ([(0, 9), (15, 18), (20, 30), (60, 70)], [4, 25, 65], [0, -1, 3]),  # beside a part that broke off
        ([(0, 9), (10, 12), (20, 30), (60, 70)], [4, 25, 65], [-1, 2, 3]),
        ([(0, 25), (30, 40), (60, 70)], [12, 35, 65], [-1, 1, 2]),  # too wide for one
    ],
)
def test_digits_that_stand_free(
    runs: list[tuple[int, int]], centres: list[float], expected: list[int]
) -> None:
    assert assign(runs_at(*runs), np.array([centres], np.float32)).tolist() == [expected]


def test_an_image_without_ink_has_no_digit() -> None:
    runs = find_runs(np.zeros((2, 4, 30), np.uint8))
    assert assign(runs, np.full((2, 3), 5, np.float32)).tolist() == [[-1] * 3] * 2


def test_digits_of_glyphs_come_from_sums_although_readings_are_wrong() -> None:
    """Simulated readings: one in twenty is wrong."""
    these, others = make(1500, 800), np.zeros((0, HEIGHT, WIDTH), np.uint8)
    found = find_glyphs(these.images, these.sums, these.readings(0.05), these.centres, others)
    rows = rows_of(found, these.sources)
    assert (rows >= 0).all() and len(set(rows.tolist())) == len(rows) > 0.95 * 800
    assert (found.digits == these.names[rows]).all()


def test_labels_follow_the_sums_and_not_the_readings() -> None:
    """Every reading of the first glyph says the same wrong digit; its sums know better."""
    these = make(600, 200)
    readings = these.readings()
    wrong = (these.names[0] + 1) % 10
    readings[these.drawn == 0] = 0.005
    readings[these.drawn == 0, wrong] = 0.955
    found = find_glyphs(these.images, these.sums, readings, these.centres, these.images[:0])
    (place,) = np.flatnonzero(rows_of(found, these.sources) == 0)
    assert found.digits[place] == these.names[0]


def test_glyphs_that_stand_in_other_images_are_left_out_even_where_they_touch() -> None:
    sources = blots(300)
    these, others = make(800, 0, 1, sources), make(30, 0, 2, sources)
    everything = find_glyphs(these.images, these.sums, these.readings(), these.centres, others.images[:0])
    found = find_glyphs(these.images, these.sums, these.readings(), these.centres, others.images)
    seen = set(others.drawn.flatten().tolist())
    # One that touches on both sides cannot be known; here are few of them.
    kept_in_error = seen & set(rows_of(found, sources).tolist())
    assert len(kept_in_error) <= 0.05 * len(seen)
    assert len(everything.digits) - len(found.digits) >= 0.95 * len(seen)
    expected = set(rows_of(everything, sources).tolist()) - seen
    assert expected <= set(rows_of(found, sources).tolist())


# ---------------------------------------------------------------- of a fold


class Reader:
    """Stands for a network: reads what it is told, and remembers what it was shown."""

    shown: NDArray[np.uint8]

    def __init__(self, these: Made) -> None:
        self.these = these

    def digits(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        self.shown = images
        row_of = {image.tobytes(): row for row, image in enumerate(self.these.images)}
        rows = [row_of[image.tobytes()] for image in images]
        return self.these.readings(0.02)[rows], self.these.centres[rows]


def dataset_of(these: Made, digest: str = "one") -> Dataset:
    pixels = these.images[:, None]
    return Dataset(pixels, these.sums, pixels[:0], [], ("Id", "Sum"), digest, "")


def folder_at(path: Path) -> FoldFolder:
    path.mkdir()
    folder = FoldFolder(path)
    write_record(folder, "these")
    return folder


def write_record(folder: FoldFolder, weights: str) -> None:
    TrainingRecord(
        member={},
        classes=[],
        image=(1, 28, 112),
        mean=[0.0],
        std=[1.0],
        execution=ExecutionRecord(device="cpu", precision="fp32", memory_format="contiguous"),
        weights_sha256=weights,
    ).write(folder.recipe)


def test_rows_that_validate_have_no_part_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    these = make(400, 300)
    reader, held_out = Reader(these), np.arange(400) % 4 == 1
    monkeypatch.setattr("softvote.inference.loading.load_predictor", lambda folder: reader)
    found = glyphs_of(folder_at(tmp_path / "fold"), dataset_of(these), held_out)
    np.testing.assert_array_equal(reader.shown[:, 0], these.images[~held_out])
    # Whatever the labels of rows that validate are, all comes out the same.
    labels = np.where(held_out, (these.sums + 1) % 37, these.sums)
    other = replace(dataset_of(these), train_labels=labels)
    again = glyphs_of(folder_at(tmp_path / "again"), other, held_out)
    np.testing.assert_array_equal(found.images, again.images)
    np.testing.assert_array_equal(found.digits, again.digits)
    assert len(found.digits) > 20


def test_found_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    these, held_out = make(200, 100), np.arange(200) < 5
    reads = []
    monkeypatch.setattr(
        "softvote.inference.loading.load_predictor", lambda folder: reads.append(folder) or Reader(these)
    )
    folder = folder_at(tmp_path / "fold")
    first = glyphs_of(folder, dataset_of(these), held_out)
    again = glyphs_of(folder, dataset_of(these), held_out)
    assert len(reads) == 1
    np.testing.assert_array_equal(first.images, again.images)
    np.testing.assert_array_equal(first.digits, again.digits)
    glyphs_of(folder, dataset_of(these), ~held_out)  # other rows
    glyphs_of(folder, dataset_of(these, "two"), ~held_out)  # other data
    write_record(folder, "others")
    glyphs_of(folder, dataset_of(these, "two"), ~held_out)
    folder.glyphs.write_bytes(b"damaged")
    glyphs_of(folder, dataset_of(these, "two"), ~held_out)
    assert len(reads) == 5
