"""make_data/four_digits.py: images, sums and digits belong together, and look like the competition's."""

from __future__ import annotations

import io
import math
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from programs import Digits, contents, enlarge, load, run, write_digits
from scipy import stats

import softvote.data.readers.digits as readers
from softvote.config.competition import Competition
from softvote.data.dataset import read_dataset, read_solution
from softvote.storage.paths import Workspace

four_digits = load("make_data/four_digits")

FILES = ["digits.npy", "images.npy", "labels.npy"]


@pytest.fixture(scope="session")
def large_digits(digits: Digits) -> Digits:
    return enlarge(digits)


@pytest.fixture
def digits_csv(tmp_path: Path, large_digits: Digits) -> Path:
    """The large digits as a CSV."""
    return write_digits(tmp_path / "digits.csv", *large_digits)


# ---------------------------------------------------------------- the program


def test_program_writes_images_sums_and_digits(digits_csv: Path, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "four-digits"
    done = run("make_data/four_digits", digits_csv, folder, "--count", 50, "--seed", 7)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"wrote 50 images from 600 digits to {folder}: pixels ")
    assert sorted(path.name for path in folder.iterdir()) == FILES
    images, labels, digits = (np.load(folder / f"{name}.npy") for name in ("images", "labels", "digits"))
    assert (images.dtype, images.shape) == (np.uint8, (50, 40, 168))
    assert (labels.dtype, labels.shape) == (np.int64, (50,))
    assert (digits.dtype, digits.shape) == (np.int64, (50, 4))
    assert (labels == digits.sum(axis=1)).all()
    assert digits.min() >= 0 and digits.max() <= 9


@pytest.mark.slow
def test_a_competition_of_digits_held_out(digits_csv: Path, large_digits: Digits, tmp_path: Path) -> None:
    """No digit is both in a training and in a test image; the forms fit the test images."""
    done = run("make_data/four_digits", digits_csv, tmp_path / "fresh", "--count", 200, "--test", 60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "wrote 200 images from 480 digits" in done.stdout
    competition = Competition.model_validate(
        {
            "name": "fresh",
            "files": {"format": "npy", "train": ["images.npy"], "train_labels": ["labels.npy"]},
            "image": {"height": 40, "width": 168},
            "labels": {"first": 0, "last": 36},
            "hidden_digits": 4,
            "solution": "solution.csv",
        }
    )
    (tmp_path / "input").mkdir()
    shutil.move(tmp_path / "fresh", tmp_path / "input" / "fresh")
    dataset = read_dataset(competition, Workspace(tmp_path))
    truth = read_solution(competition, Workspace(tmp_path))
    assert dataset.train_pixels.shape == (200, 1, 40, 168) and dataset.test_pixels.shape == (60, 1, 40, 168)
    kept, held_out = four_digits.hold_out(readers.DigitImages(*large_digits), 2026)
    assert (len(kept.labels), len(held_out.labels)) == (480, 120)
    for source, pixels, sums in (
        (kept, dataset.train_pixels, dataset.train_labels),
        (held_out, dataset.test_pixels, truth),
    ):
        made = four_digits.make(source, len(pixels), 2026)
        assert (made.images == pixels[:, 0]).all() and (made.labels == sums).all()
    # Every row is in one of the two, and in no more.
    together = np.concatenate([kept.images, held_out.images]).reshape(600, -1)
    both = (np.sort(rows.reshape(600, -1).sum(axis=1)) for rows in (together, large_digits[0]))
    np.testing.assert_array_equal(*both)


@pytest.mark.slow
def test_same_arguments_give_the_same_bytes(digits_csv: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    words = ["--count", "20", "--seed", "3"]
    assert four_digits.main([str(digits_csv), str(first), *words]) == 0
    before = contents(first)
    assert run("make_data/four_digits", digits_csv, second, *words).returncode == 0
    assert contents(second) == before
    assert four_digits.main([str(digits_csv), str(first), *words]) == 0
    assert contents(first) == before
    assert four_digits.main([str(digits_csv), str(first), "--count", "20", "--seed", "4"]) == 0
    assert all(content != before[name] for name, content in contents(first).items())


def test_arrays_give_the_same_as_a_csv(digits_csv: Path, tmp_path: Path, large_digits: Digits) -> None:
    source = tmp_path / "arrays"
    source.mkdir()
    for name, array in zip(("images", "labels"), large_digits, strict=True):
        np.save(source / f"{name}.npy", array)
    words = ["--count", "20", "--labels", str(source / "labels.npy")]
    assert four_digits.main([str(source / "images.npy"), str(tmp_path / "a"), *words]) == 0
    assert four_digits.main([str(digits_csv), str(tmp_path / "b"), "--count", "20"]) == 0
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_a_larger_count_begins_with_the_smaller(large_digits: Digits) -> None:
    few, many = (four_digits.make(readers.DigitImages(*large_digits), count, seed=1) for count in (30, 100))
    for smaller, larger in zip(few, many, strict=True):
        np.testing.assert_array_equal(smaller, larger[:30])


# ---------------------------------------------------------------- where digits lie


def test_digits_stand_from_left_to_right_as_drawn() -> None:
    # Ten digits, each a box of one grey level, so that a box tells its digit.
    source = readers.DigitImages(
        np.arange(10, 110, 10, dtype=np.uint8).repeat(784).reshape(10, 28, 28), np.arange(10)
    )
    made = four_digits.make(source, 500, seed=5)
    layout = four_digits.draw_layout(10, 500, seed=5)
    for image, digits, left, top in zip(made.images, made.digits, layout.left, layout.top, strict=True):
        expected = np.zeros((40, 168), np.uint8)
        for digit, x, y in zip(digits.tolist(), left.tolist(), top.tolist(), strict=True):
            box = expected[y : y + 28, x : x + 28]
            np.maximum(box, 10 * (digit + 1), out=box)
        np.testing.assert_array_equal(image, expected)


def test_the_brighter_pixel_stays_where_digits_overlap() -> None:
    levels = np.array([200, 100], np.uint8)[:, None, None] * np.ones((1, 28, 28), np.uint8)
    left = np.array([[0, 14, 100, 140]])  # 8 + 3 x 44 = 140: this far right the last box can begin
    layout = four_digits.Layout(np.array([[0, 1, 1, 0]]), left, np.zeros_like(left))
    image = four_digits.paste(levels, layout)[0]
    assert image[0, [0, 13, 14, 27, 28, 41, 42, 100, 127, 139, 140, 167]].tolist() == [
        200, 200, 200, 200, 100, 100, 0, 100, 100, 0, 200, 200,
    ]  # fmt: skip
    assert not image[28:].any()


def test_layout_is_even_over_its_whole_range() -> None:
    layout = four_digits.draw_layout(100, 30_000, seed=11)
    steps = np.diff(layout.left, axis=1)
    columns = [(layout.left[:, 0], 0, 8), *((step, 14, 44) for step in steps.T)]
    columns += [(top, 0, 12) for top in layout.top.T] + [(rows, 0, 99) for rows in layout.sources.T]
    for values, low, high in columns:
        assert (values.min(), values.max()) == (low, high)
        assert stats.chisquare(np.bincount(values - low)).pvalue > 1e-4
    together = np.corrcoef(np.stack([values for values, _, _ in columns]))
    # 66 pairs of columns, each correlation with a standard error of 1/sqrt(30,000).
    assert np.abs(together - np.eye(len(columns))).max() < 4.5 / math.sqrt(30_000)


def test_statistics_are_those_of_all_pixels() -> None:
    images = np.random.default_rng(0).integers(0, 256, (1500, 4, 5), dtype=np.uint8)
    assert four_digits.pixel_statistics(images) == pytest.approx((images.mean(), images.std()))


# ---------------------------------------------------------------- mistakes


def test_a_mistake_is_one_line_without_a_traceback(tmp_path: Path) -> None:
    done = run("make_data/four_digits", tmp_path / "absent.csv", tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr == f"four_digits: {tmp_path / 'absent.csv'}: no such file; fix the path\n"
    assert done.stdout == "" and not (tmp_path / "out").exists()


def fails(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """What the program says of a mistake, without its name and the path before the first colon and space."""
    assert four_digits.main([str(word) for word in words]) == 1
    [line] = capsys.readouterr().err.splitlines()
    name, _, rest = line.partition(": ")
    assert name == "four_digits"
    return rest


@pytest.mark.parametrize(
    ("label", "pixel", "says"),
    [
        ("12", "0", ", row 2, column label: '12' is not a digit; write the label as 0..9, or drop the image"),
        ("", "0", ", row 2, column label: is empty; write the label as 0..9, or drop the image"),
        ("1", "256", ", row 2, column pixel0: '256' is not a whole number from 0 to 255; write the pixel "),
    ],
)
def test_bad_cells_are_named(
    label: str, pixel: str, says: str, digits_csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header, first, *rest = digits_csv.read_text().splitlines()
    first = ",".join([label, pixel, *first.split(",")[2:]])
    digits_csv.write_text("\n".join([header, first, *rest]))
    assert f"{digits_csv}{says}" in fails(capsys, digits_csv, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_digits_of_another_size_are_refused(
    digits: Digits, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_digits(tmp_path / "small.csv", digits[0][:50], digits[1][:50])
    said = fails(capsys, path, tmp_path / "out")
    assert said == (
        f"{path}, row 1: 64 columns beside 'label', but 28 x 28 digits have 784; give other digits"
    )


def test_images_without_labels_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "test.csv").write_text("pixel0,pixel1\n0,0\n")
    said = fails(capsys, tmp_path / "test.csv", tmp_path / "out")
    assert said.endswith("row 1: no column 'label'; give labelled digits, such as a train.csv")
    said = fails(capsys, tmp_path / "images.npy", tmp_path / "out")
    assert said.endswith("images without labels; name the file of labels with --labels")


def test_too_few_digits_are_named(
    large_digits: Digits, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, labels = large_digits
    path = write_digits(tmp_path / "few.csv", images[labels < 8], labels[labels < 8])
    said = fails(capsys, path, tmp_path / "out")
    assert said == f"{path}: too few digits, images 0 of 8, 0 of 9; give at least 1 of each digit 0..9"


@pytest.mark.parametrize("count", [0, -3, four_digits.MOST + 1])
def test_a_count_out_of_range_is_refused(
    count: int, digits_csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = fails(capsys, digits_csv, tmp_path / "out", "--count", count)
    assert said == f"--count {count}: no such number of images; give 1 to 1,000,000"


ARRAYS: dict[str, tuple[Callable[[Digits], Digits], str]] = {
    "floats": (lambda both: (both[0] / 255, both[1]), "images.npy: holds float64 (600, 28, 28); digits must"),
    "flat": (lambda both: (both[0].reshape(600, -1), both[1]), "images.npy: holds uint8 (600, 784); digits"),
    "one-hot": (lambda both: (both[0], np.eye(10)[both[1]]), "labels.npy: holds float64 (600, 10); labels"),
    "halves": (lambda both: (both[0], both[1] / 2), "labels.npy: holds float64 (600,); labels must be"),
    "short": (
        lambda both: (both[0], both[1][:-1]),
        "labels.npy: has 599 labels for the 600 images of images",
    ),
    "sums": (
        lambda both: (both[0], np.where(np.arange(600) == 5, 14, both[1])),
        "labels.npy, index 5: '14' is not a digit; write the label as 0..9",
    ),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_other_arrays_are_refused(
    name: str, large_digits: Digits, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change, says = ARRAYS[name]
    for file, array in zip(("images.npy", "labels.npy"), change(large_digits), strict=True):
        np.save(tmp_path / file, array)
    words = (tmp_path / "images.npy", tmp_path / "out", "--labels", tmp_path / "labels.npy")
    assert fails(capsys, *words).startswith(f"{tmp_path}/{says}")
    (tmp_path / "labels.npy").unlink()
    assert fails(capsys, *words) == f"{tmp_path}/labels.npy: no such file; fix the path"


def test_the_source_is_never_written_over(
    large_digits: Digits, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, array in zip(("images", "labels"), large_digits, strict=True):
        np.save(tmp_path / f"{name}.npy", array)
    before = contents(tmp_path)
    said = fails(capsys, tmp_path / "images.npy", tmp_path, "--labels", tmp_path / "labels.npy")
    assert said == f"{tmp_path}: holds the digits to read; name another folder"
    assert contents(tmp_path) == before


def test_a_folder_that_cannot_be_written_is_named(
    digits_csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    said = fails(capsys, digits_csv, tmp_path / "file", "--count", 5)
    assert said == f"{tmp_path}/file/images.npy: cannot be written (File exists)"


def test_nothing_changes_unless_all_is_written(
    digits_csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    assert four_digits.main([str(digits_csv), str(folder), "--count", "5"]) == 0
    before, save = contents(folder), np.save

    def full_disk(path: Path, array: NDArray[np.int64], **options: bool) -> None:
        if array.ndim == 2:  # the digits, the last of the three
            raise OSError(28, "No space left on device")
        save(path, array, **options)

    monkeypatch.setattr(np, "save", full_disk)
    said = fails(capsys, digits_csv, folder, "--count", 5, "--seed", 9)
    assert said == f"{folder}/digits.npy: cannot be written (No space left on device)"
    assert contents(folder) == before


# ---------------------------------------------------------------- the competition's images

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"
IMAGES, SOURCES = 30_000, 42_000


def member(name: str, zip_name: str) -> io.BufferedIOBase:
    """A file in one of the competitions' zips."""
    path = SHARED / zip_name
    if not path.is_file():
        pytest.skip(f"needs {zip_name} in shared/data beside the project's folder")
    return io.BytesIO(zipfile.ZipFile(path).read(name))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """30,000 images of Digit Recognizer's training digits."""
    path = tmp_path_factory.mktemp("digits") / "train.csv"
    with path.open("wb") as file:
        shutil.copyfileobj(member("train.csv", "digit-recognizer.zip"), file)
    source = readers.read_csv(path)
    path.unlink()
    assert len(source.labels) == SOURCES
    return four_digits.make(source, IMAGES, seed=2026)


def tolerance(influence: NDArray[np.float64]) -> float:
    """How far a statistic may lie from the published one: half its last digit and three standard errors.

    Both come from 30,000 images, and these from two collections of some 42,000 digits: as many as 10,500
    images have, so that they add the standard error of 10,500 images.

    Args:
        influence: float (N,), by how much N times the statistic changes for each image.
    """
    return 0.05 + 3 * float(influence.std()) * math.sqrt(2 * (1 / IMAGES + 4 / SOURCES))


def moments(images: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean pixel and mean squared pixel of each image, float64 (N,)."""
    flat = images.reshape(len(images), -1)
    squares = np.concatenate([(part.astype(np.float32) ** 2).mean(axis=1) for part in np.split(flat, 10)])
    return flat.mean(axis=1), squares.astype(np.float64)


@pytest.mark.slow
def test_statistics_are_the_published_ones(made: Any) -> None:
    mean, deviation = four_digits.pixel_statistics(made.images)
    means, squares = moments(made.images)
    assert abs(mean - 15.5) < tolerance(means)  # 0.17
    assert abs(deviation - 56.1) < tolerance((squares - 2 * mean * means) / (2 * deviation))
    sums = made.labels.astype(np.float64)
    assert abs(sums.mean() - 17.8) < tolerance(sums)
    assert abs(sums.std() - 5.8) < tolerance((sums - sums.mean()) ** 2 / (2 * sums.std()))


def features(images: NDArray[np.uint8]) -> dict[str, NDArray[np.float64]]:
    """What can be measured without knowing the digits, float64 (N,) each."""
    ink = images > 0
    columns, rows = ink.any(axis=1), ink.any(axis=2)
    left, right = columns.argmax(axis=1), 168 - columns[:, ::-1].argmax(axis=1)
    begun = np.diff(columns.astype(np.int8), axis=1, prepend=0) == 1
    means, squares = moments(images)
    found = {
        "left": left, "right": right, "width": right - left, "top": rows.argmax(axis=1),
        "bottom": rows[:, ::-1].argmax(axis=1), "pieces": begun.sum(axis=1),
        "gaps": right - left - columns.sum(axis=1), "ink": ink.sum(axis=(1, 2)),
        "grey": (ink & (images < 128)).sum(axis=(1, 2)), "mean": means, "square": squares,
    }  # fmt: skip
    return {name: values.astype(np.float64) for name, values in found.items()}


@pytest.mark.slow
def test_images_look_like_the_competitions(made: Any) -> None:
    real = np.load(member("data0.npy", "digit-sum.zip"))
    theirs, ours = features(real), features(made.images)
    for name, values in theirs.items():
        # Both draw from the same digits. By chance, one of 900 seeds would fail.
        assert stats.ks_2samp(values, ours[name]).pvalue > 1e-4, name
    sums = np.load(member("lab0.npy", "digit-sum.zip"))
    assert stats.ks_2samp(sums, made.labels).pvalue > 1e-4
