from __future__ import annotations

import json
from pathlib import Path

import data_fixtures as data
import numpy as np
import pytest
import timm
from conftest import Digits
from numpy.typing import NDArray
from PIL import Image

from softvote.config.competition import Competition, LabelRange
from softvote.config.pipeline import Pipeline
from softvote.config.pipeline_file import read_pipeline_file
from softvote.data.dataset import Dataset, read_dataset, read_solution
from softvote.data.layout import scaffold_pipeline
from softvote.data.readers.image_folder import ImageFolder
from softvote.data.readers.pixel_csv import PixelCsv
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
    image, light = pipeline.competition.image, pipeline.members["light"]
    assert [*pipeline.members] == ["light"]
    assert timm.get_pretrained_cfg(light.model).input_size == (image.channels, image.height, image.width)
    assert image.resize and light.model_args == {"pretrained": True} and light.normalise == "pretrained"
    assert read_dataset(pipeline.competition, workspace).train_pixels.shape == (30, 3, 224, 224)


def test_a_stronger_member_waits_in_comments(workspace: Workspace, digits: Digits) -> None:
    folder = workspace.input("digits")
    data.write_competition(folder, "image_folder", digits)
    for path in folder.glob("*/*.png"):
        Image.open(path).convert("RGB").resize((96, 96)).save(path)
    text = scaffold_pipeline(folder, "digits").text
    before, comment, _ = text.partition("# A stronger member")
    lines = [line.removeprefix("#") for line in (comment + _).splitlines()[1:]]
    path = workspace.pipelines / "digits.yaml"
    path.parent.mkdir()
    path.write_text("\n".join([before.rstrip(), *lines]))
    pipeline = read_pipeline_file(path)
    light, strong = (timm.get_pretrained_cfg(member.model) for member in pipeline.members.values())
    assert light.input_size == strong.input_size


@pytest.mark.parametrize(
    ("side", "mode", "published"), [(64, "RGB", False), (65, "RGB", True), (96, "L", False)]
)
def test_photographs_are_large_and_in_colour(
    workspace: Workspace, digits: Digits, side: int, mode: str, published: bool
) -> None:
    folder = workspace.input("digits")
    data.write_competition(folder, "image_folder", digits)
    for path in folder.glob("*/*.png"):
        Image.open(path).convert(mode).resize((side, side)).save(path)
    pipeline = pipeline_of(workspace)
    assert all(bool(member.model_args) == published for member in pipeline.members.values())
    assert pipeline.competition.image.height == (224 if published else side)


def test_a_size_that_is_given_stays(workspace: Workspace, digits: Digits) -> None:
    folder = workspace.input("digits")
    data.write_competition(folder, "image_folder", digits)
    for path in folder.glob("*/*.png"):
        Image.open(path).convert("RGB").resize((96, 96)).save(path)
    pipeline = pipeline_of(workspace, (80, 120))
    assert (pipeline.competition.image.height, pipeline.competition.image.width) == (80, 120)
    assert [*pipeline.members] == ["light"]


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


# ---------------------------------------------------------------- files as people have them


def lines_of(workspace: Workspace, image: tuple[int, int] | None = None) -> list[str]:
    """What was taken for what."""
    return scaffold_pipeline(workspace.input("digits"), "digits", image).took


def write_images(folder: Path, names: list[str], images: NDArray[np.uint8]) -> None:
    for name, pixels in zip(names, images, strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / name)


NAMES = [f"{row}.png" for row in range(12)]


@pytest.fixture
def images(workspace: Workspace, digits: Digits) -> NDArray[np.uint8]:
    """12 training images and 3 test images, which lie under the same names, and a sample of 0.5."""
    folder = workspace.input("digits")
    write_images(folder, [f"train/{name}" for name in NAMES], digits[0][:12])
    write_images(folder, [f"test/{name}" for name in NAMES[:3]], digits[0][12:15])
    data.write_csv(
        folder / "sample_submission.csv", ["id", "has_cactus"], [[name, 0.5] for name in NAMES[:3]]
    )
    return digits[0]


def read_detected(workspace: Workspace) -> tuple[Competition, Dataset]:
    competition = pipeline_of(workspace).competition
    return competition, read_dataset(competition, workspace)


def test_a_saved_row_index_is_not_taken_for_the_id(workspace: Workspace, images: NDArray[np.uint8]) -> None:
    backwards = NAMES[::-1]
    rows = [[row, name, row % 2] for row, name in enumerate(backwards)]
    data.write_csv(workspace.input("digits") / "train.csv", ["", "id", "has_cactus"], rows)
    competition, dataset = read_detected(workspace)
    assert isinstance(competition.files, ImageFolder) and competition.files.id == "id"
    assert np.array_equal(dataset.train_pixels[:, 0], images[:12][::-1])


@pytest.mark.parametrize("index", ["", "Unnamed: 0"])
def test_a_row_index_that_names_files_too(
    index: str, workspace: Workspace, images: NDArray[np.uint8]
) -> None:
    rows = [[row, name.removesuffix(".png"), row % 2] for row, name in enumerate(NAMES[::-1])]
    data.write_csv(workspace.input("digits") / "train.csv", [index, "id", "has_cactus"], rows)
    _, dataset = read_detected(workspace)
    assert np.array_equal(dataset.train_pixels[:, 0], images[:12][::-1])


def test_of_two_columns_that_name_files_the_samples_is_the_id(
    workspace: Workspace, images: NDArray[np.uint8]
) -> None:
    rows = [[row, name, row % 2] for row, name in enumerate(NAMES[::-1])]
    data.write_csv(workspace.input("digits") / "train.csv", ["number", "id", "has_cactus"], rows)
    _, dataset = read_detected(workspace)
    assert np.array_equal(dataset.train_pixels[:, 0], images[:12][::-1])
    assert lines_of(workspace)[0] == "images: column id of train.csv (also number) names files in train"


def test_a_row_index_is_not_the_id_even_where_it_alone_names_files(
    workspace: Workspace, images: NDArray[np.uint8]
) -> None:
    rows = [[row, f"img_{row}", row % 2] for row in range(12)]
    data.write_csv(workspace.input("digits") / "train.csv", ["", "id", "has_cactus"], rows)
    assert "found no train and test" in error_of(workspace)


def test_a_sample_of_halves_asks_for_a_probability(workspace: Workspace, images: NDArray[np.uint8]) -> None:
    rows = [[name, row % 2] for row, name in enumerate(NAMES)]
    data.write_csv(workspace.input("digits") / "train.csv", ["id", "has_cactus"], rows)
    competition, _ = read_detected(workspace)
    assert competition.form is not None and competition.form.name == "probability"


def test_images_that_the_sample_does_not_list_are_told(
    workspace: Workspace, images: NDArray[np.uint8]
) -> None:
    folder = workspace.input("digits")
    data.write_csv(
        folder / "train.csv", ["id", "has_cactus"], [[name, row % 2] for row, name in enumerate(NAMES)]
    )
    data.write_csv(folder / "sample_submission.csv", ["id", "has_cactus"], [[NAMES[1], 0.5]])
    _, dataset = read_detected(workspace)
    assert len(dataset.test_ids) == 1 and "2 of the 3 images of test are in no row" in dataset.notes[0]


@pytest.mark.parametrize("form", ["{stem}", "train/{stem}.png", "{word}/{stem}.png", "{word}/{stem}"])
def test_ids_with_folders_and_without_suffix(form: str, workspace: Workspace, digits: Digits) -> None:
    folder = workspace.input("digits")
    ids = [form.format(stem=row, word="odd" if row % 2 else "even") for row in range(12)]
    places = [f"train/{'odd' if row % 2 else 'even'}/{row}.png" for row in range(12)]
    write_images(folder, places if "{word}" in form else [f"train/{name}" for name in NAMES], digits[0][:12])
    write_images(folder, ["test/100.png", "test/101.png"], digits[0][12:14])
    data.write_csv(folder / "sample_submission.csv", ["id", "label"], [["100", 0], ["101", 0]])
    data.write_csv(folder / "train.csv", ["id", "label"], [[name, row % 2] for row, name in enumerate(ids)])
    _, dataset = read_detected(workspace)
    assert np.array_equal(dataset.train_pixels[:, 0], digits[0][:12])
    assert np.array_equal(dataset.test_pixels[:, 0], digits[0][12:14])


def test_files_in_folders_that_the_table_does_not_name(workspace: Workspace, digits: Digits) -> None:
    folder = workspace.input("digits")
    write_images(folder, [f"train_images/{row % 3}/{row + 100}.png" for row in range(12)], digits[0][:12])
    write_images(folder, ["test_images/200.png"], digits[0][12:13])
    data.write_csv(folder / "sample_submission.csv", ["image_id", "label"], [["200.png", 0]])
    rows = [[f"{row + 100}.png", f"kind{row % 3}", "x"] for row in range(12)]
    data.write_csv(folder / "train.csv", ["image_id", "label", "variety"], rows)
    competition, dataset = read_detected(workspace)
    assert competition.classes == ["kind0", "kind1", "kind2"]
    assert np.array_equal(dataset.train_pixels[:, 0], digits[0][:12])


def test_a_table_that_is_sorted_by_folders(workspace: Workspace, digits: Digits) -> None:
    folder = workspace.input("digits")
    names = [f"{row}.png" for row in range(260)]
    images = np.resize(digits[0], (260, 8, 8))
    write_images(
        folder, [f"photos/{'b' if row >= 250 else 'a'}/{name}" for row, name in enumerate(names)], images
    )
    write_images(folder, ["test/300.png"], digits[0][:1])
    data.write_csv(folder / "sample_submission.csv", ["id", "label"], [["300.png", 0]])
    data.write_csv(
        folder / "train.csv", ["id", "label"], [[name, row // 250] for row, name in enumerate(names)]
    )
    competition, dataset = read_detected(workspace)
    assert isinstance(competition.files, ImageFolder) and competition.files.train_images == "photos"
    assert np.array_equal(dataset.train_pixels[:, 0], images)


def test_images_of_the_same_names_in_another_folder_are_told(
    workspace: Workspace, images: NDArray[np.uint8]
) -> None:
    folder = workspace.input("digits")
    write_images(folder, [f"small/train/{name}" for name in NAMES], images[:12, ::2, ::2])
    data.write_csv(
        folder / "train.csv", ["id", "has_cactus"], [[name, row % 2] for row, name in enumerate(NAMES)]
    )
    _, dataset = read_detected(workspace)
    assert np.array_equal(dataset.train_pixels[:, 0], images[:12])
    assert "images of the same names are in small/train too: those in train were taken" in lines_of(workspace)


def test_a_folder_for_each_class_with_a_table_of_groups(workspace: Workspace, digits: Digits) -> None:
    folder = workspace.input("digits")
    data.write_competition(folder, "class_folders", digits)
    names = sorted(path.name for path in (folder / "train").rglob("*.png"))
    data.write_csv(folder / "photos.csv", ["photo", "subject"], [[name, f"p{name[6]}"] for name in names])
    pipeline = pipeline_of(workspace)
    assert pipeline.competition.files.format == "class_folders" and pipeline.folds.group == "subject"
    groups = read_dataset(pipeline.competition, workspace).train_groups["subject"]
    assert sorted(groups) == sorted(f"p{name[6]}" for name in names)


def test_names_that_say_the_class_where_the_sample_has_numbers(workspace: Workspace, digits: Digits) -> None:
    folder = workspace.input("digits")
    write_images(
        folder, [f"train/{'dog' if row % 2 else 'cat'}.{row}.png" for row in range(12)], digits[0][:12]
    )
    write_images(folder, ["test1/1.png", "test1/2.png"], digits[0][12:14])
    data.write_csv(folder / "sampleSubmission.csv", ["id", "label"], [["1", 0.5], ["2", 0.5]])
    competition, dataset = read_detected(workspace)
    assert competition.labels == LabelRange(first=0, last=1)
    assert dataset.train_labels.tolist() == [0] * 6 + [1] * 6
    said = "labels: the sample has numbers, so cat = 0, dog = 1 by the alphabet; no file says so: check it"
    assert said in lines_of(workspace)


def pixel_rows(workspace: Workspace, digits: Digits) -> tuple[list[str], list[str]]:
    """The lines of train.csv and test.csv of a pixel CSV, header first."""
    folder = workspace.input("digits")
    data.write_competition(folder, "pixel_csv", digits)
    train, test = ((folder / name).read_text().splitlines() for name in ("train.csv", "test.csv"))
    return train, test


def write_pixel_rows(workspace: Workspace, train: list[str], test: list[str]) -> None:
    for name, lines in (("train.csv", train), ("test.csv", test)):
        (workspace.input("digits") / name).write_text("\n".join(lines))


def check_pixels(workspace: Workspace, digits: Digits) -> Competition:
    competition, dataset = read_detected(workspace)
    assert np.array_equal(dataset.train_pixels[:, 0], digits[0][:30])
    assert np.array_equal(dataset.train_labels, digits[1][:30])
    assert np.array_equal(dataset.test_pixels[:, 0], digits[0][30:42])
    return competition


def test_pixels_with_an_id_in_the_test_file_alone(workspace: Workspace, digits: Digits) -> None:
    train, test = pixel_rows(workspace, digits)
    rows = [f"{name},{row}" for name, row in zip(data.TEST_IDS, test[1:], strict=True)]
    write_pixel_rows(workspace, train, [f"id,{test[0]}", *rows[::-1]])
    (workspace.input("digits") / "Dig-MNIST.csv").write_text("\n".join(train))
    competition = check_pixels(workspace, digits)
    assert isinstance(competition.files, PixelCsv) and competition.files.id == "id"


def test_pixels_beside_columns_that_are_none(workspace: Workspace, digits: Digits) -> None:
    train, test = pixel_rows(workspace, digits)
    extra = [f"{row},{line},u{row % 4}" for row, line in enumerate(train[1:])]
    write_pixel_rows(workspace, [f"Unnamed: 0,{train[0]},user", *extra], [f"{line},x" for line in test])
    (workspace.input("digits") / "test.csv").write_text(
        "\n".join([f"{test[0]},Usage", *(f"{line},Public" for line in test[1:])])
    )
    check_pixels(workspace, digits)
    pipeline = pipeline_of(workspace)
    assert pipeline.folds.group == "user"
    assert "columns that are not pixels: 'Unnamed: 0', 'user', 'Usage'" in lines_of(workspace)
    # and by hand, where nobody says which columns these are
    files = {"format": "pixel_csv"}
    train_only = read_dataset(data.competition_of(files), workspace)
    assert np.array_equal(train_only.train_pixels[:, 0], digits[0][:30])
    assert train_only.notes[0] == "train.csv: columns that are not pixels were left out: Unnamed: 0, user"


@pytest.mark.parametrize("name", ["addend", "plus"])
def test_pixels_beside_a_known_addend(workspace: Workspace, digits: Digits, name: str) -> None:
    """The label is the digit that an image shows plus an integer that stands in both files."""
    train, test = pixel_rows(workspace, digits)
    labelled = [line.split(",") for line in train[1:]]
    place = train[0].split(",").index("label")
    for row, cells in enumerate(labelled):
        cells[place] = str(int(cells[place]) + row % 10)
    lines = [f"{row % 10},{','.join(cells)}" for row, cells in enumerate(labelled)]
    test_lines = [f"{row % 10},{line}" for row, line in enumerate(test[1:])]
    write_pixel_rows(workspace, [f"{name},{train[0]}", *lines], [f"{name},{test[0]}", *test_lines])
    found = pipeline_of(workspace)
    competition = found.competition
    assert (competition.hidden_digits, competition.addend, len(competition.classes)) == (1, True, 19)
    assert {member.head for member in found.members.values()} == {"digits"}
    read = read_dataset(competition, workspace)
    assert read.train_addends is not None and read.train_addends[:12].tolist() == [*range(10), 0, 1]
    said = f"column {name}: a known integer; label less {name} is a digit in every row"
    assert said in lines_of(workspace)


def test_pixels_without_a_header(workspace: Workspace, digits: Digits) -> None:
    train, test = pixel_rows(workspace, digits)
    write_pixel_rows(workspace, train[1:], test[1:])
    check_pixels(workspace, digits)
    assert "train.csv has no header: the first column was read as the label, not the last" in lines_of(
        workspace
    )
    with pytest.raises(UserError) as error:
        read_dataset(data.competition_of({"format": "pixel_csv"}), workspace)
    assert [line.partition(": ")[2] for line in str(error.value).splitlines()[:1]] == [
        "holds only numbers where the column names should be; add a header, or write files.has_header: false"
    ]


def test_what_is_still_packed_is_named(workspace: Workspace) -> None:
    folder = workspace.input("digits")
    folder.mkdir(parents=True)
    (folder / "train.7z").write_bytes(b"7z")
    assert error_of(workspace).startswith(
        f"{folder}/train.7z: is still packed, so nothing was found in {folder}"
    )


def test_what_makes_no_layout_is_told(workspace: Workspace, images: NDArray[np.uint8]) -> None:
    folder = workspace.input("digits")
    data.write_csv(folder / "train.csv", ["id", "label"], [["a", 1], ["b", 2], ["c", 1], ["d", 2], ["e", 1]])
    data.write_csv(folder / "sample_submission.csv", ["id", "label"], [["100", 1], ["0", 1]])
    assert error_of(workspace) == (
        f"{folder}: found no train and test as CSV, images or .npy that belong together; there are 3 images "
        "in test, 12 images in train, the table train.csv, sample_submission.csv, of whose first 2 ids 1 "
        "name an image; write pipelines/digits.yaml by hand"
    )


def test_deep_images_are_measured(workspace: Workspace, digits: Digits) -> None:
    folder = workspace.input("digits")
    deep = digits[0].astype(np.uint16) * 16
    write_images(folder, [f"train/{name}" for name in NAMES], deep[:12])
    write_images(folder, ["test/a.png"], deep[12:13])
    data.write_csv(folder / "sample_submission.csv", ["id", "label"], [["a", 0]])
    data.write_csv(folder / "train.csv", ["id", "label"], [[name, row % 2] for row, name in enumerate(NAMES)])
    competition, dataset = read_detected(workspace)
    assert competition.image.value_range == (0, 4095)
    assert np.abs(dataset.train_pixels[:, 0].astype(int) - digits[0][:12]).max() <= 1


def test_arrays_in_one_npz(workspace: Workspace, digits: Digits) -> None:
    folder = workspace.input("digits")
    folder.mkdir(parents=True)
    np.savez(
        folder / "digits.npz",
        x_train=digits[0][:30] / np.float32(255), y_train=digits[1][:30],
        x_test=digits[0][30:42] / np.float32(255), y_test=digits[1][30:42],
    )  # fmt: skip
    data.write_csv(folder / "sample_submission.csv", ["id", "label"], [[name, 0] for name in data.TEST_IDS])
    competition = check_pixels(workspace, digits)
    assert competition.image.value_range == (0, 1)


def test_what_no_file_says_is_listed(workspace: Workspace, digits: Digits) -> None:
    data.write_competition(workspace.input("digits"), "image_folder", digits)
    found = scaffold_pipeline(workspace.input("digits"), "digits")
    assert found.unknown[0] == "which metric counts (competition.metric)"
    assert "the competition's address on Kaggle (competition.kaggle)" in found.unknown
    for line in [*found.took, *found.unknown]:
        assert line in found.text.partition("competition:\n")[0], "the file says it too"


@pytest.mark.parametrize("file_format", READERS)
@pytest.mark.parametrize("name", ["sample_submission.csv", "train.csv"])
def test_an_id_in_several_rows_is_told(
    name: str, file_format: str, workspace: Workspace, digits: Digits
) -> None:
    """As nothing can be read of it: in all tables with ids."""
    folder = workspace.input("digits")
    data.write_competition(folder, file_format, digits)
    path, repeated = folder / name, "ids stand in several rows of"
    if not path.exists() or (name == "train.csv" and file_format == "pixel_csv"):  # which has no ids
        pytest.skip(f"{file_format} has no ids in {name}")
    assert not any(repeated in line for line in scaffold_pipeline(folder, "digits").took)
    header, *rows = path.read_text().splitlines()
    path.write_text("\n".join([header, *rows, rows[2], rows[2], rows[0]]))
    [told] = [line for line in scaffold_pipeline(folder, "digits").took if repeated in line]
    first = rows[0].partition(",")[0]
    assert told.startswith(f"2 {repeated} {name}, such as '{first}' in rows 2 and {len(rows) + 4}: each must")
    assert error_when_read(workspace)
    path.write_text("\n".join([header, *rows, rows[0]]))
    assert any(
        f"1 id stands in several rows of {name}," in line for line in scaffold_pipeline(folder, "digits").took
    )


@pytest.mark.parametrize("file_format", ["json", "parquet"])
def test_an_id_that_several_test_images_have_is_told(
    file_format: str, workspace: Workspace, digits: Digits
) -> None:
    folder = workspace.input("digits")
    data.write_competition(folder, file_format, digits)
    path = folder / f"test.{file_format}"
    if file_format == "json":
        records = json.loads(path.read_text())
        path.write_text(json.dumps([*records, records[2]]))
        name, told = records[2]["id"], f"in rows 4 and {len(records) + 2}"
    else:
        pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        table = parquet.read_table(path)
        parquet.write_table(pyarrow.concat_tables([table, table.slice(2, 1)]), path)
        name, told = table.column(0)[2].as_py(), f"in images 3 and {len(table) + 1}"
    [said] = [line for line in scaffold_pipeline(folder, "digits").took if f"of {path.name}, such as" in line]
    assert said.startswith("1 id stands in several ") and f"'{name}' {told}: each must" in said
    assert path.name in error_when_read(workspace)


def error_when_read(workspace: Workspace) -> str:
    with pytest.raises(UserError, match="is already at") as error:
        read_dataset(pipeline_of(workspace).competition, workspace)
    return str(error.value)


@pytest.mark.parametrize("name", ["na\x07me", "na\nfolds: {count: 9}", "\u202ename"])
def test_names_in_files_stay_in_their_comments(
    name: str, workspace: Workspace, images: NDArray[np.uint8]
) -> None:
    rows = [[name_of_file, row % 2] for row, name_of_file in enumerate(NAMES)]
    data.write_csv(workspace.input("digits") / "train.csv", [name, "has_cactus"], rows)
    found = pipeline_of(workspace)
    assert found.folds.count == 5 and found.competition.files.model_dump()["id"] == name
