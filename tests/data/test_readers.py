from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import data_fixtures as data
import numpy as np
import pyarrow.parquet
import pytest
from conftest import Digits
from PIL import Image

from softvote.config.competition import Competition
from softvote.data import pixel_cells
from softvote.data.readers.registry import READERS
from softvote.errors import UserError

Edit = Callable[[list[str]], list[str]]


def read(competition: Competition, folder: Path) -> Any:
    return READERS[competition.files.format].read(competition, folder)


def problems_of(competition: Competition, folder: Path) -> list[str]:
    """The lines of the error that reading raises, without the folder's path."""
    with pytest.raises(UserError) as error:
        read(competition, folder)
    return str(error.value).replace(f"{folder}/", "").splitlines()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "digits"


# ---------------------------------------------------------------- every format


def test_every_format_has_a_writer_here() -> None:
    assert set(data.WRITERS) == set(READERS)


@pytest.mark.parametrize("file_format", READERS)
def test_reads_what_was_written(file_format: str, folder: Path, digits: Digits) -> None:
    competition = data.write_competition(folder, file_format, digits)
    train, test = read(competition, folder)
    images, labels = digits
    order = data.reading_order(file_format, labels)
    for found, expected in ((train.pixels, images[order]), (test.pixels, images[30:42])):
        assert found.dtype == np.uint8 and found.flags["C_CONTIGUOUS"]
        assert np.array_equal(found, expected[:, None])
    assert train.labels.dtype == np.int64 and np.array_equal(train.labels, labels[order])
    assert test.labels is None


@pytest.mark.parametrize("file_format", READERS)
def test_labels_are_indices_of_classes(file_format: str, folder: Path, digits: Digits) -> None:
    backwards = [str(digit) for digit in range(9, -1, -1)]
    competition = data.write_competition(folder, file_format, digits, labels=backwards)
    order = data.reading_order(file_format, digits[1])
    assert np.array_equal(read(competition, folder)[0].labels, 9 - digits[1][order])


@pytest.mark.parametrize("file_format", READERS)
def test_sources_change_with_every_file_read(file_format: str, folder: Path, digits: Digits) -> None:
    competition = data.write_competition(folder, file_format, digits)
    sources = READERS[file_format].sources(competition, folder)
    written = {path for path in folder.rglob("*") if path.is_file()}
    assert set(sources) == written - {folder / "solution.csv"}


@pytest.mark.parametrize("file_format", READERS)
def test_all_missing_files_are_named_at_once(file_format: str, folder: Path, digits: Digits) -> None:
    competition = data.write_competition(folder, file_format, digits)
    empty = folder.parent / "empty"
    empty.mkdir()
    with pytest.raises(UserError) as error:
        READERS[file_format].sources(competition, empty)
    named = competition.files.model_dump(
        include={"train", "test", "train_images", "test_images", "train_labels"}
    ).values()
    wanted = [name for value in named for name in ([value] if isinstance(value, str) else value)]
    for name in [*wanted, "sample_submission.csv"]:
        assert f"{empty / name}: is missing" in str(error.value)


@pytest.mark.parametrize("file_format", READERS)
def test_label_outside_the_classes(file_format: str, folder: Path, digits: Digits) -> None:
    competition = data.write_competition(folder, file_format, digits, labels={"first": 0, "last": 8})
    lines = problems_of(competition, folder)
    nines = [row for row, label in enumerate(digits[1][:30].tolist()) if label == 9]
    if file_format in ("class_folders", "file_names"):
        assert lines[0].startswith(f"train: '9' of {len(nines)} images is not a class") and len(lines) == 1
        return
    place = {"npy": "lab0.npy, index 9", "json": "train.json, row 11, column label"}
    where = place.get(file_format, "train.csv, row 11, column label")
    assert nines[0] == 9 and len(lines) == len(nines)
    assert lines[0].startswith(f"{where}: '9' is not a class") and "integers 0..8" in lines[0]


@pytest.mark.parametrize("file_format", READERS)
def test_images_of_another_size(file_format: str, folder: Path, digits: Digits) -> None:
    competition = data.write_competition(folder, file_format, digits, image={"height": 7, "width": 8})
    text = "\n".join(problems_of(competition, folder))
    expected = {
        "pixel_csv": "train.csv, row 1: 64 pixel columns, but competition.image is 7 x 8 x 1 = 56; "
        "set image height and width to 8",
        "image_folder": "train.csv, row 2, column id: train/digit_0.png is 8 x 8, "
        "competition.image says 7 x 8; set image.resize: true",
        "npy": "data0.npy: has images of 8 x 8 x 1 (H x W x C), competition.image says 7 x 8 x 1",
        "class_folders": "train/0/digit_00.png is 8 x 8, competition.image says 7 x 8",
        "file_names": "train/0.00.png is 8 x 8, competition.image says 7 x 8",
        "parquet": "train.parquet: has 64 pixels per image, competition.image is 7 x 8 x 1 = 56",
        "json": "train.json: has 64 pixels per image, competition.image is 7 x 8 x 1 = 56; write files.size",
    }
    assert expected[file_format] in text
    of_test = {"pixel_csv": "test.csv", "npy": "test.npy", "parquet": "test.parquet", "json": "test.json"}
    assert of_test.get(file_format, "more like these") in text


@pytest.mark.parametrize("file_format", READERS)
def test_colour_images(file_format: str, folder: Path, digits: Digits) -> None:
    images = np.random.default_rng(0).integers(0, 256, (42, 8, 8, 3)).astype(np.uint8)
    image = {"height": 8, "width": 8, "channels": 3}
    competition = data.write_competition(folder, file_format, (images, digits[1]), image=image)
    train, test = read(competition, folder)
    order = data.reading_order(file_format, digits[1])
    assert np.array_equal(train.pixels, images[order].transpose(0, 3, 1, 2))
    assert np.array_equal(test.pixels, images[30:].transpose(0, 3, 1, 2))


def test_parquet_pixels_stand_in_the_order_of_the_training_file(folder: Path, digits: Digits) -> None:
    competition = data.write_competition(folder, "parquet", digits)
    before = READERS["parquet"].read(competition, folder)[1].pixels
    test = pyarrow.parquet.read_table(folder / "test.parquet")
    pyarrow.parquet.write_table(test.select(test.column_names[::-1]), folder / "test.parquet")
    for found in (
        READERS["parquet"].read(competition, folder)[1],
        READERS["parquet"].open_test(competition, folder).load(range(len(before)))[0],
    ):
        np.testing.assert_array_equal(found.pixels, before)


# ---------------------------------------------------------------- pixel_csv


def with_cell(row: int, column: int, text: str) -> Edit:
    """Put a text into the cell of a file's row and of a column counted from 0."""

    def edit(lines: list[str]) -> list[str]:
        cells = lines[row - 1].split(",")
        cells[column] = text
        return [*lines[: row - 1], ",".join(cells), *lines[row:]]

    return edit


def without_cells(row: int, count: int) -> Edit:
    return lambda lines: [*lines[: row - 1], lines[row - 1].rsplit(",", count)[0], *lines[row:]]


NOT_A_PIXEL = "write the pixel as an integer 0..255"
BAD_ROWS: dict[str, tuple[Edit, str]] = {
    "no label column": (
        with_cell(1, 0, "Label"),
        "train.csv, row 1: no column 'label'; did you mean 'Label'?",
    ),
    "too few cells": (
        without_cells(7, 3),
        "train.csv, row 7: has 62 cells, the header has 65; fix or drop the row",
    ),
    "too many cells": (
        lambda lines: [*lines[:6], lines[6] + ",0", *lines[7:]],
        "train.csv, row 7: has 66 cells, the header has 65; fix or drop the row",
    ),
    "cut off": (
        without_cells(31, 64),
        "train.csv, row 31: has 1 cell, the header has 65; the file looks truncated",
    ),
    "empty pixel": (with_cell(5, 3, ""), f"train.csv, row 5, column pixel2: is empty; {NOT_A_PIXEL}"),
    "empty label": (with_cell(5, 0, ""), "train.csv, row 5, column label: is empty"),
    "label with a fraction": (with_cell(5, 0, "3.0"), "train.csv, row 5, column label: '3.0' is not a class"),
    "a gap called NA": (with_cell(5, 3, "NA"), "train.csv, row 5, column pixel2: 'NA' is not a whole number"),
    "float": (with_cell(5, 3, "3.0"), "train.csv, row 5, column pixel2: '3.0' is not a whole number"),
    "above 255": (with_cell(5, 3, "256"), "train.csv, row 5, column pixel2: '256' is not a whole number"),
    "below 0": (with_cell(5, 3, "-1"), "train.csv, row 5, column pixel2: '-1' is not a whole number"),
    "huge": (with_cell(5, 3, "9" * 40), "train.csv, row 5, column pixel2: '999"),
    "true": (with_cell(5, 3, "True"), "train.csv, row 5, column pixel2: 'True' is not a whole number"),
    "foreign digits": (
        with_cell(5, 3, "\u0663"),
        "train.csv, row 5, column pixel2: '\u0663' is not a whole number",
    ),
    "name given twice": (
        with_cell(1, 9, "pixel3"),
        "train.csv, row 1, column pixel3: names columns 5 and 10 alike; rename or drop one",
    ),
    "quote left open": (with_cell(5, 3, '"7'), "train.csv: is not CSV"),
    "header only": (lambda lines: lines[:1], "train.csv: has a header but no rows"),
    "empty": (lambda lines: [], "train.csv: has no content"),
}


def edit_file(path: Path, edit: Edit) -> None:
    lines = edit(path.read_text().splitlines())
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


@pytest.mark.parametrize("case", BAD_ROWS)
def test_pixel_csv_bad_rows(case: str, folder: Path, digits: Digits) -> None:
    competition = data.write_competition(folder, "pixel_csv", digits)
    edit, expected = BAD_ROWS[case]
    edit_file(folder / "train.csv", edit)
    lines = problems_of(competition, folder)
    assert len(lines) == 1 and lines[0].startswith(expected)


def test_pixel_csv_names_every_problem_of_both_files(folder: Path, digits: Digits) -> None:
    competition = data.write_competition(folder, "pixel_csv", digits)
    edits = [with_cell(3, 0, "ten"), with_cell(4, 1, "x"), without_cells(9, 1), with_cell(12, 64, "")]
    for edit in edits:
        edit_file(folder / "train.csv", edit)
    edit_file(folder / "test.csv", with_cell(2, 0, "300"))
    places = {line.split(":")[0] for line in problems_of(competition, folder)}
    assert places == {
        "train.csv, row 9",
        "train.csv, row 3, column label",
        "train.csv, row 4, column pixel0",
        "train.csv, row 12, column pixel63",
        "test.csv, row 2, column pixel0",
    }


def test_pixel_csv_rows_are_lines_of_the_file(folder: Path, digits: Digits) -> None:
    competition = data.write_competition(folder, "pixel_csv", digits)
    edit_file(folder / "train.csv", with_cell(9, 3, "x"))
    edit_file(folder / "train.csv", lambda lines: [*lines[:4], "", "", *lines[4:]])
    expected = "train.csv, row 11, column pixel2: 'x'"
    assert problems_of(competition, folder)[0].startswith(expected)
    path = folder / "train.csv"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert problems_of(competition, folder)[0].startswith(expected)


def test_pixel_csv_rows_are_lines_even_where_a_cell_has_two(folder: Path, digits: Digits) -> None:
    competition = data.write_competition(folder, "pixel_csv", digits)
    edit_file(folder / "train.csv", with_cell(9, 3, "x"))
    edit_file(folder / "train.csv", with_cell(4, 0, '"two\nlines"'))
    places = [line.split(":")[0] for line in problems_of(competition, folder)]
    assert places == ["train.csv, row 4, column label", "train.csv, row 10, column pixel2"]


@pytest.mark.slow_but("7", "30", "4096")
@pytest.mark.parametrize("block", [1, 7, 30, 4096])
def test_pixel_csv_is_parsed_in_blocks_of_rows(
    block: int, folder: Path, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pixel_cells, "_BLOCK", block)
    competition = data.write_competition(folder, "pixel_csv", digits)
    assert np.array_equal(read(competition, folder)[0].pixels[:, 0], digits[0][:30])
    for row, pixel in ((3, 5), (20, 5), (31, 9)):
        edit_file(folder / "train.csv", with_cell(row, pixel, "x"))
    places = [line.split(":")[0] for line in problems_of(competition, folder)]
    assert places == [f"train.csv, row {row}, column pixel{at}" for row, at in ((3, 4), (20, 4), (31, 8))]


def test_pixel_csv_a_wholly_wrong_file_is_told_in_few_lines(folder: Path, digits: Digits) -> None:
    competition = data.write_competition(folder, "pixel_csv", digits)
    edit_file(
        folder / "train.csv",
        lambda lines: [lines[0], *(re.sub(r",(\d+)", r",\1.5", row) for row in lines[1:])],
    )
    lines = problems_of(competition, folder)
    assert len(lines) == 21 and lines[-1] == f"... and {30 * 64 - 20} more like these"


def write_anew(path: Path, how: str) -> None:
    text = path.read_text()
    quoted = "\n".join(",".join(f'"{cell}"' for cell in line.split(",")) for line in text.splitlines())
    header, rows = text.split("\n", 1)
    quoted_header = ",".join(f'"{name}"' for name in header.split(","))
    variants = {
        "BOM": "\ufeff" + text,
        "CRLF": text.replace("\n", "\r\n"),
        "BOM and CRLF": "\ufeff" + text.replace("\n", "\r\n"),
        "blank lines": text.replace("\n", "\n\n"),
        "no last line end": text.rstrip("\n"),
        "spaces": text.replace(",", " , "),
        "quoted": quoted,
        "quoted header": f"{quoted_header}\n{rows}",
    }
    path.write_bytes(variants[how].encode())


HOW = ["BOM", "CRLF", "BOM and CRLF", "blank lines", "no last line end", "spaces", "quoted", "quoted header"]


@pytest.mark.parametrize("how", HOW)
def test_pixel_csv_harmless_variants(how: str, folder: Path, digits: Digits) -> None:
    competition = data.write_competition(folder, "pixel_csv", digits)
    for name in ("train.csv", "test.csv"):
        write_anew(folder / name, how)
    train, test = read(competition, folder)
    assert np.array_equal(train.pixels[:, 0], digits[0][:30]) and np.array_equal(train.labels, digits[1][:30])
    assert np.array_equal(test.pixels[:, 0], digits[0][30:42])


def test_pixel_csv_not_utf8(folder: Path, digits: Digits) -> None:
    competition = data.write_competition(folder, "pixel_csv", digits)
    path = folder / "train.csv"
    path.write_bytes(path.read_bytes().replace(b"\n0,", b"\n\xff0,", 1))
    assert problems_of(competition, folder) == [
        "train.csv, row 2: byte 0xff is not UTF-8; save the file as UTF-8"
    ]


def test_pixel_csv_pixels_in_another_order(folder: Path, digits: Digits) -> None:
    competition = data.write_competition(folder, "pixel_csv", digits)
    edit_file(folder / "test.csv", lambda lines: [",".join(row.split(",")[::-1]) for row in lines])
    assert problems_of(competition, folder)[0].startswith(
        "test.csv, row 1, column pixel63: the pixels stand in"
    )


def test_pixel_csv_duplicate_and_empty_ids(folder: Path, digits: Digits) -> None:
    competition = data.write_competition(folder, "pixel_csv", digits)
    for name in ("train.csv", "test.csv"):
        edit_file(
            folder / name,
            lambda lines: [f"key,{lines[0]}", *(f"k{i},{row}" for i, row in enumerate(lines[1:]))],
        )
    competition = data.competition_of({"format": "pixel_csv", "id": "key"})
    assert read(competition, folder)[1].ids == [f"k{row}" for row in range(12)]
    edit_file(folder / "test.csv", with_cell(7, 0, "k0"))
    edit_file(folder / "test.csv", with_cell(8, 0, ""))
    assert problems_of(competition, folder) == [
        "test.csv, row 7, column key: id 'k0' is already at test.csv, row 2, column key; drop one",
        "test.csv, row 8, column key: is empty; write the id",
    ]


# ---------------------------------------------------------------- image_folder


def test_image_folder_missing_and_damaged_images(folder: Path, digits: Digits) -> None:
    competition = data.write_competition(folder, "image_folder", digits)
    (folder / "train/digit_3.png").unlink()
    (folder / "train/digit_4.png").write_text("no image")
    whole = (folder / "test/5.png").read_bytes()
    (folder / "test/5.png").write_bytes(whole[: len(whole) // 2])
    lines = problems_of(competition, folder)
    assert len(lines) == 3
    assert lines[0].startswith("train.csv, row 5, column id: no image train/digit_3")
    assert lines[1].startswith("train.csv, row 6, column id: train/digit_4.png is damaged (not an image)")
    assert lines[2].startswith("sample_submission.csv, row 6, column Id: test/5.png is damaged")


def test_image_folder_duplicate_id(folder: Path, digits: Digits) -> None:
    competition = data.write_competition(folder, "image_folder", digits)
    edit_file(folder / "train.csv", with_cell(9, 0, "digit_0"))
    (line,) = problems_of(competition, folder)
    assert line.startswith("train.csv, row 9, column id: id 'digit_0' is already at train.csv, row 2")


def test_image_folder_finds_the_suffix_itself(folder: Path, digits: Digits) -> None:
    data.write_competition(folder, "image_folder", digits)
    Image.open(folder / "train/digit_3.png").save(folder / "train/digit_3.bmp")
    (folder / "train/digit_3.png").unlink()
    train, _ = read(data.competition_of({"format": "image_folder"}), folder)
    assert np.array_equal(train.pixels[:, 0], digits[0][:30])


def test_image_folder_resizes_when_asked(folder: Path, digits: Digits) -> None:
    image = {"height": 4, "width": 4, "resize": True}
    competition = data.write_competition(folder, "image_folder", digits, image=image)
    train, _ = read(competition, folder)
    means = digits[0][:30].reshape(30, 4, 2, 4, 2).mean(axis=(2, 4))
    # A bilinear reduction weighs neighbours beyond the 2 x 2 block: near the block means, not on them.
    assert np.corrcoef(train.pixels[:, 0].ravel(), means.ravel())[0, 1] > 0.95


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "I;16"])
def test_image_folder_modes_give_the_same_grey(mode: str, folder: Path, digits: Digits) -> None:
    competition = data.write_competition(folder, "image_folder", digits)
    image = digits[0][0]
    if mode == "I;16":
        Image.fromarray(image.astype(np.uint16) * 257).save(folder / "train/digit_0.png")
    else:
        Image.fromarray(image).convert(mode).save(folder / "train/digit_0.png")
    train, _ = read(competition, folder)
    assert np.array_equal(train.pixels[0, 0], image)


# ---------------------------------------------------------------- npy


def save(path: Path, array: Any) -> None:
    np.save(path, array, allow_pickle=True)


BAD_ARRAYS: dict[str, tuple[Callable[[Path], None], str]] = {
    "float images": (
        lambda f: save(f / "data1.npy", np.zeros((15, 8, 8))),
        "data1.npy: holds float64, not uint8",
    ),
    "rank 2": (
        lambda f: save(f / "data1.npy", np.zeros((15, 64), np.uint8)),
        "data1.npy: has shape (15, 64); images need (N, H, W) or (N, H, W, C)",
    ),
    "colour": (
        lambda f: save(f / "test.npy", np.zeros((12, 8, 8, 3), np.uint8)),
        "test.npy: has images of 8 x 8 x 3",
    ),
    "none": (lambda f: save(f / "test.npy", np.zeros((0, 8, 8), np.uint8)), "test.npy: holds no images"),
    "float labels": (
        lambda f: save(f / "lab0.npy", np.zeros(15)),
        "lab0.npy: holds float64; labels must be integers",
    ),
    "labels of rank 2": (
        lambda f: save(f / "lab0.npy", np.zeros((15, 1), int)),
        "lab0.npy: has shape (15, 1); labels need (N,)",
    ),
    "too few labels": (
        lambda f: save(f / "lab1.npy", np.zeros(14, int)),
        "lab1.npy: has 14 labels for the 15 images of data1.npy",
    ),
    "pickled": (lambda f: save(f / "lab0.npy", np.array([{}] * 15)), "lab0.npy: holds pickled objects"),
    "bare pickle": (
        lambda f: void((f / "lab0.npy").write_bytes(pickle.dumps([0] * 15))),
        "lab0.npy: is not an .npy file",
    ),
    "cut off": (lambda f: cut(f / "data0.npy", 200), "data0.npy: is truncated or damaged"),
    "header cut off": (lambda f: cut(f / "data0.npy", 20), "data0.npy: is truncated or damaged"),
    "empty": (lambda f: cut(f / "data0.npy", 0), "data0.npy: is not an .npy file"),
}


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def void(_: object) -> None:
    pass


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_npy_bad_arrays(case: str, folder: Path, digits: Digits) -> None:
    competition = data.write_competition(folder, "npy", digits)
    damage, expected = BAD_ARRAYS[case]
    damage(folder)
    (line,) = problems_of(competition, folder)
    assert line.startswith(expected)


def test_npy_labels_in_one_file(folder: Path, digits: Digits) -> None:
    data.write_competition(folder, "npy", digits)
    save(folder / "labels.npy", digits[1][:30])
    files = {"format": "npy", "train": ["data0.npy", "data1.npy"], "train_labels": ["labels.npy"]}
    competition = data.competition_of(files)
    assert np.array_equal(read(competition, folder)[0].labels, digits[1][:30])
    save(folder / "labels.npy", digits[1][:29])
    assert problems_of(competition, folder) == [
        "labels.npy: has 29 labels for the 30 images of data0.npy, data1.npy; pair the files"
    ]


# ---------------------------------------------------------------- addends

ADDER: dict[str, Any] = {"labels": {"first": 0, "last": 18}, "hidden_digits": 1, "addend": True}
ADDENDS = np.arange(42) * 7 % 10


def write_sums(folder: Path, file_format: str, digits: Digits) -> Competition:
    """30 train and 12 test digits, each with an addend that is part of its label."""
    labels = digits[1][:42] + ADDENDS
    data.write_competition(folder, file_format, (digits[0][:42], labels), labels=ADDER["labels"])
    if file_format == "npy":
        for name, part in (("add0", slice(15)), ("add1", slice(15, 30)), ("add_test", slice(30, 42))):
            save(folder / f"{name}.npy", ADDENDS[part])
        more = {"train_addends": ["add0.npy", "add1.npy"], "test_addends": ["add_test.npy"]}
        names = {"train": ["data0.npy", "data1.npy"], "train_labels": ["lab0.npy", "lab1.npy"]}
        return data.competition_of({"format": "npy", **names, **more}, **ADDER)
    for name, part in (("train.csv", ADDENDS[:30]), ("test.csv", ADDENDS[30:])):
        lines = (folder / name).read_text().splitlines()
        cells = ["plus", *part.tolist()]
        text = [f"{line},{cell}\n" for line, cell in zip(lines, cells, strict=True)]
        (folder / name).write_text("".join(text))
    return data.competition_of({"format": "pixel_csv", "addend": "plus"}, **ADDER)


sums = pytest.mark.parametrize("file_format", ["pixel_csv", "npy"])


@sums
def test_addends_come_with_their_images(file_format: str, folder: Path, digits: Digits) -> None:
    competition = write_sums(folder, file_format, digits)
    train, test = read(competition, folder)
    assert np.array_equal(train.pixels[:, 0], digits[0][:30])
    assert np.array_equal(test.pixels[:, 0], digits[0][30:42])
    assert train.addends.dtype == test.addends.dtype == np.int64
    assert np.array_equal(train.addends, ADDENDS[:30]) and np.array_equal(test.addends, ADDENDS[30:])
    assert np.array_equal(train.labels - train.addends, digits[1][:30])


@sums
def test_files_of_addends_are_sources(file_format: str, folder: Path, digits: Digits) -> None:
    competition = write_sums(folder, file_format, digits)
    written = {path for path in folder.rglob("*") if path.is_file()}
    assert set(READERS[file_format].sources(competition, folder)) == written - {folder / "solution.csv"}


@pytest.mark.parametrize("file_format", READERS)
def test_without_addends_there_are_none(file_format: str, folder: Path, digits: Digits) -> None:
    competition = data.write_competition(folder, file_format, digits)
    assert [images.addends for images in read(competition, folder)] == [None, None]


TRAIN_COLUMN, TEST_COLUMN = 65, 64  # of addends, after the label, where there is one, and the pixels
BAD_ADDENDS: dict[str, tuple[str, Edit, str]] = {
    "no column": ("test.csv", with_cell(1, 64, "add"), "test.csv, row 1: no column 'plus'; "),
    "empty": ("train.csv", with_cell(4, 65, ""), "train.csv, row 4, column plus: the addend is empty"),
    "ten": (
        "train.csv", with_cell(4, TRAIN_COLUMN, "10"),
        "train.csv, row 4, column plus: addend '10' is not an integer 0..9; fix it",
    ),
    "negative": (
        "test.csv", with_cell(13, TEST_COLUMN, "-1"),
        "test.csv, row 13, column plus: addend '-1' is not an integer 0..9; fix it",
    ),
    "fraction": (
        "test.csv", with_cell(2, TEST_COLUMN, "3.0"),
        "test.csv, row 2, column plus: addend '3.0' is not an integer 0..9; fix it",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_ADDENDS)
def test_pixel_csv_bad_addends(case: str, folder: Path, digits: Digits) -> None:
    competition = write_sums(folder, "pixel_csv", digits)
    name, edit, expected = BAD_ADDENDS[case]
    edit_file(folder / name, edit)
    (line,) = problems_of(competition, folder)
    assert line.startswith(expected)


@pytest.mark.parametrize(
    ("label", "addend", "shows"), [("3", "4", -1), ("0", "9", -9), ("18", "8", 10), ("10", "0", 10)]
)
def test_pixel_csv_a_label_that_the_addend_rules_out(
    label: str, addend: str, shows: int, folder: Path, digits: Digits
) -> None:
    competition = write_sums(folder, "pixel_csv", digits)
    edit_file(folder / "train.csv", with_cell(6, 0, label))
    edit_file(folder / "train.csv", with_cell(6, TRAIN_COLUMN, addend))
    assert problems_of(competition, folder) == [
        f"train.csv, row 6, column label: label {label} less addend {addend} is {shows}, "
        "and hidden digits give 0..9; fix one of them"
    ]


def test_pixel_csv_every_addend_there_can_be(folder: Path, digits: Digits) -> None:
    competition = write_sums(folder, "pixel_csv", digits)
    for row, (label, addend) in enumerate([(0, 0), (9, 0), (9, 9), (18, 9)], start=2):
        edit_file(folder / "train.csv", with_cell(row, 0, str(label)))
        edit_file(folder / "train.csv", with_cell(row, TRAIN_COLUMN, str(addend)))
    train, _ = read(competition, folder)
    assert (train.labels - train.addends)[:4].tolist() == [0, 9, 0, 9]


def test_pixel_csv_bad_addends_of_both_files_at_once(folder: Path, digits: Digits) -> None:
    competition = write_sums(folder, "pixel_csv", digits)
    edit_file(folder / "train.csv", with_cell(4, TRAIN_COLUMN, "x"))
    edit_file(folder / "train.csv", with_cell(8, 3, "y"))
    edit_file(folder / "test.csv", with_cell(5, TEST_COLUMN, ""))
    assert [line.split(":")[0] for line in problems_of(competition, folder)] == [
        "train.csv, row 4, column plus", "train.csv, row 8, column pixel2", "test.csv, row 5, column plus",
    ]  # fmt: skip


BAD_ADDEND_ARRAYS: dict[str, tuple[Callable[[Path], None], str]] = {
    "missing": (lambda f: (f / "add1.npy").unlink(), "add1.npy: is missing; add it"),
    "floats": (
        lambda f: save(f / "add1.npy", np.zeros(15)),
        "add1.npy: holds float64 of shape (15,); addends are integers (N,)",
    ),
    "rank 2": (
        lambda f: save(f / "add_test.npy", np.zeros((12, 1), int)),
        "add_test.npy: holds int64 of shape (12, 1); addends are integers (N,)",
    ),
    "too few": (
        lambda f: save(f / "add_test.npy", np.zeros(11, int)),
        "add_test.npy: has 11 addends for the 12 images of test.npy; pair the files",
    ),
    "ten": (
        lambda f: save(f / "add1.npy", 10 * (np.arange(15) == 6)),
        "add1.npy, index 6: addend '10' is not an integer 0..9; fix it",
    ),
    "damaged": (lambda f: cut(f / "add0.npy", 60), "add0.npy: is truncated or damaged"),
}


@pytest.mark.parametrize("case", BAD_ADDEND_ARRAYS)
def test_npy_bad_addends(case: str, folder: Path, digits: Digits) -> None:
    competition = write_sums(folder, "npy", digits)
    damage, expected = BAD_ADDEND_ARRAYS[case]
    damage(folder)
    with pytest.raises(UserError) as error:
        READERS["npy"].sources(competition, folder)
        read(competition, folder)
    (line,) = str(error.value).replace(f"{folder}/", "").splitlines()
    assert line.startswith(expected)


@pytest.mark.parametrize(("file", "index", "row"), [("0", 14, 14), ("1", 0, 15), ("1", 11, 26)])
def test_npy_a_label_that_the_addend_rules_out_is_named_in_its_own_file(
    file: str, index: int, row: int, folder: Path, digits: Digits
) -> None:
    competition = write_sums(folder, "npy", digits)
    labels, addend = np.load(folder / f"lab{file}.npy"), ADDENDS[row]
    labels[index] = addend + 10 if addend < 9 else 0
    save(folder / f"lab{file}.npy", labels)
    (line,) = problems_of(competition, folder)
    assert line.startswith(f"lab{file}.npy, index {index}: label {labels[index]} less addend {addend} is ")
