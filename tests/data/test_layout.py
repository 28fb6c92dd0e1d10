from __future__ import annotations

import data_fixtures as data
import numpy as np
import pytest
from conftest import Digits
from PIL import Image

from softvote.config.competition import LabelRange
from softvote.config.pipeline import Pipeline
from softvote.config.pipeline_file import read_pipeline_file
from softvote.data.dataset import read_dataset, read_solution
from softvote.data.layout import scaffold_pipeline
from softvote.data.readers.registry import READERS
from softvote.errors import UserError
from softvote.storage.paths import Workspace


def pipeline_of(workspace: Workspace, image: tuple[int, int] | None = None) -> Pipeline:
    """What is recognised in input/digits, through a file."""
    path = workspace.root / "digits.yaml"
    path.write_text(scaffold_pipeline(workspace.input("digits"), "digits", image).text, encoding="utf-8")
    return read_pipeline_file(path)


def error_of(workspace: Workspace, image: tuple[int, int] | None = None) -> str:
    with pytest.raises(UserError) as error:
        scaffold_pipeline(workspace.input("digits"), "digits", image)
    return str(error.value)


@pytest.mark.parametrize("file_format", READERS)
def test_what_is_recognised_can_be_read(file_format: str, workspace: Workspace, digits: Digits) -> None:
    data.write_competition(workspace.input("digits"), file_format, digits)
    pipeline = pipeline_of(workspace)
    competition = pipeline.competition
    assert competition.files.format == file_format
    assert competition.labels == LabelRange(first=0, last=9)
    assert (competition.image.height, competition.image.width, competition.image.channels) == (8, 8, 1)
    assert list(pipeline.members) == ["cnn", "resnet5"]
    dataset, solution = read_dataset(competition, workspace), read_solution(competition, workspace)
    order = data.reading_order(file_format, digits[1])
    assert np.array_equal(dataset.train_pixels[:, 0], digits[0][order])
    assert np.array_equal(dataset.train_labels, digits[1][order])
    assert np.array_equal(dataset.test_pixels[:, 0], digits[0][30:42])
    assert solution is not None and np.array_equal(solution, digits[1][30:42])


def test_names_of_classes_and_an_unusual_label_column(workspace: Workspace, digits: Digits) -> None:
    folder = workspace.input("digits")
    data.write_competition(folder, "pixel_csv", digits)
    header, *rows = (folder / "train.csv").read_text().splitlines()
    named = ["yes" + row[1:] if row[0] in "02468" else "no" + row[1:] for row in rows]
    text = "\n".join([header.replace("label", "even"), *named])
    (folder / "train.csv").unlink()
    (folder / "training.csv").write_text(text)
    competition = pipeline_of(workspace).competition
    assert competition.classes == ["no", "yes"]
    expected = (digits[1][:30] % 2 == 0).astype(np.int64)
    assert np.array_equal(read_dataset(competition, workspace).train_labels, expected)


def test_ids_of_a_pixel_csv(workspace: Workspace, digits: Digits) -> None:
    folder = workspace.input("digits")
    data.write_competition(folder, "pixel_csv", digits)
    for name in ("train.csv", "test.csv"):
        header, *rows = (folder / name).read_text().splitlines()
        rows = [f"{number + 1},{row}" for number, row in enumerate(rows)]
        (folder / name).write_text("\n".join([f"Id,{header}", *rows]))
    competition = pipeline_of(workspace).competition
    assert competition.files.format == "pixel_csv" and competition.files.id == "Id"
    assert read_dataset(competition, workspace).test_ids == data.TEST_IDS


@pytest.mark.parametrize(("labels", "expected"), [([0, 1, 2], 3), ([0, 5], 2), ([*range(9), 10], 11)])
def test_integers_are_a_range_unless_many_lack(
    labels: list[int], expected: int, workspace: Workspace, digits: Digits
) -> None:
    some = np.resize(np.array(labels), 42)
    data.write_competition(
        workspace.input("digits"), "npy", (digits[0], some), labels={"first": 0, "last": 10}
    )
    assert len(pipeline_of(workspace).competition.classes) == expected


def test_many_arrays_come_in_natural_order(workspace: Workspace, digits: Digits) -> None:
    folder = workspace.input("digits")
    data.write_competition(folder, "npy", digits)
    for part in range(2, 11):
        np.save(folder / f"data{part}.npy", digits[0][:5])
        np.save(folder / f"lab{part}.npy", digits[1][:5])
    files = pipeline_of(workspace).competition.files
    assert files.format == "npy"
    assert files.train == [f"data{part}.npy" for part in range(11)]
    assert files.train_labels == [f"lab{part}.npy" for part in range(11)]


def test_image_folders_by_other_names(workspace: Workspace, digits: Digits) -> None:
    folder = workspace.input("digits")
    data.write_competition(folder, "image_folder", digits)
    (folder / "train").rename(folder / "train_images")
    (folder / "test").rename(folder / "test_images")
    lines = (folder / "train.csv").read_text().replace("id,label", "file,category").splitlines()
    rows = [lines[0], *(line.replace(",", ".png,") for line in lines[1:])]
    (folder / "train_labels.csv").write_text("\n".join(rows))
    (folder / "train.csv").unlink()
    competition = pipeline_of(workspace).competition
    assert np.array_equal(read_dataset(competition, workspace).train_pixels[:, 0], digits[0][:30])


def test_large_colour_images_of_many_sizes(workspace: Workspace, digits: Digits) -> None:
    folder = workspace.input("digits")
    data.write_competition(folder, "image_folder", digits)
    for number, path in enumerate(sorted(folder.glob("*/*.png"))):
        Image.open(path).convert("RGB").resize((448 if number else 500, 224)).save(path)
    pipeline = pipeline_of(workspace)
    image = pipeline.competition.image
    assert (image.height, image.width, image.channels, image.resize) == (112, 224, 3, True)
    assert list(pipeline.members) == ["cnn", "resnet18"]
    assert read_dataset(pipeline.competition, workspace).train_pixels.shape == (30, 3, 112, 224)


def test_pixels_that_are_no_square(workspace: Workspace, digits: Digits) -> None:
    folder = workspace.input("digits")
    data.write_competition(folder, "pixel_csv", (digits[0][:, :5], digits[1]))
    assert error_of(workspace) == (
        f"{folder}/train.csv, row 1: 40 pixel columns are neither a square in one channel nor in three; "
        "pass `image` HxW, or write pipelines/digits.yaml by hand"
    )
    assert "neither 6 x 8 in one channel" in error_of(workspace, (6, 8))
    image = pipeline_of(workspace, (5, 8)).competition.image
    assert (image.height, image.width, image.channels) == (5, 8, 1)


def test_nothing_to_recognise(workspace: Workspace, digits: Digits) -> None:
    folder = workspace.input("digits")
    assert "no such folder; get it with: `data path/to/digits.zip`" in error_of(workspace)
    folder.mkdir(parents=True)
    (folder / "readme.txt").write_text("hello")
    expected = (
        f"{folder}: found no train and test as CSV, images or .npy; write pipelines/digits.yaml by hand"
    )
    assert error_of(workspace) == expected


@pytest.mark.parametrize("file_format", ["pixel_csv", "npy"])
def test_no_sample_submission(file_format: str, workspace: Workspace, digits: Digits) -> None:
    data.write_competition(workspace.input("digits"), file_format, digits)
    (workspace.input("digits") / "sample_submission.csv").unlink()
    assert "found no sample submission (*submission*.csv)" in error_of(workspace)


def test_no_label_column(workspace: Workspace, digits: Digits) -> None:
    folder = workspace.input("digits")
    data.write_competition(folder, "pixel_csv", digits)
    text = (folder / "train.csv").read_text()
    (folder / "train.csv").write_text(text.replace("label,pixel0", "what,else"))
    assert "train.csv, row 1: no column looks like the label" in error_of(workspace)


def test_damaged_files_are_named(workspace: Workspace, digits: Digits) -> None:
    folder = workspace.input("digits")
    data.write_competition(folder, "npy", digits)
    (folder / "lab1.npy").write_text("x")
    assert error_of(workspace) == f"{folder}/lab1.npy: is not an .npy file; write it with numpy.save"
