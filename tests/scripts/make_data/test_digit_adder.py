"""scripts/make_data/digit_adder.py: every sum is its digit and its addend, and no row is lost or shared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from programs import Digits, contents, enlarge, load, run, write_digits
from scipy import stats

digit_adder = load("make_data/digit_adder")

FILES = ["sample_submission.csv", "solution.csv", "test.csv", "train.csv"]
PIXELS = [f"pixel{index}" for index in range(784)]


@pytest.fixture(scope="session")
def large_digits(digits: Digits) -> Digits:
    return enlarge(digits)


@pytest.fixture
def digits_csv(tmp_path: Path, large_digits: Digits) -> Path:
    """The large digits as a CSV."""
    return write_digits(tmp_path / "digits.csv", *large_digits)


@pytest.fixture
def adder(digits_csv: Path, tmp_path: Path) -> dict[str, pd.DataFrame]:
    """The four tables made of 600 digits, by their names without suffix."""
    folder = tmp_path / "input" / "digit-adder"
    assert digit_adder.main([str(digits_csv), str(folder)]) == 0
    assert sorted(path.name for path in folder.iterdir()) == FILES
    return {path.stem: pd.read_csv(path) for path in folder.iterdir()}


def test_program_says_what_it_wrote(
    digits_csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert digit_adder.main([str(digits_csv), str(tmp_path / "out")]) == 0
    wrote = f"wrote 500 training and 100 test rows to {tmp_path / 'out'}\n"
    assert capsys.readouterr() == (wrote, "")


def test_tables_have_the_promised_columns(adder: dict[str, pd.DataFrame]) -> None:
    assert list(adder["train"].columns) == ["label", "addend", *PIXELS]
    assert list(adder["test"].columns) == ["addend", *PIXELS]
    for name in ("sample_submission", "solution"):
        assert list(adder[name].columns) == ["ImageId", "Label"]
        assert adder[name]["ImageId"].tolist() == list(range(1, 101))
    assert not adder["sample_submission"]["Label"].any()
    assert {kind for table in adder.values() for kind in table.dtypes} == {np.dtype(np.int64)}


def test_every_row_is_there_once_in_its_order_with_its_sum(
    adder: dict[str, pd.DataFrame], large_digits: Digits
) -> None:
    images, labels = large_digits[0].reshape(600, -1), large_digits[1]
    row_of = {image.tobytes(): row for row, image in enumerate(images)}
    assert len(row_of) == 600
    seen = []
    for name, sums in (("train", adder["train"]["label"]), ("test", adder["solution"]["Label"])):
        pixels = adder[name][PIXELS].to_numpy(np.uint8)
        rows = [row_of[image.tobytes()] for image in pixels]
        assert rows == sorted(rows)
        addends = adder[name]["addend"].to_numpy()
        assert addends.min() == 0 and addends.max() == 9
        np.testing.assert_array_equal(sums, labels[rows] + addends)
        seen += rows
    assert sorted(seen) == list(range(600))


def test_a_sixth_of_each_digit_is_held_out() -> None:
    labels = np.random.default_rng(0).choice(10, 6000, p=np.arange(1, 11) / 55)
    train, test = digit_adder.split(labels, seed=1)
    assert (len(train), len(test)) == (5000, 1000)
    assert np.abs(np.bincount(labels[test]) - np.bincount(labels) / 6).max() < 1
    # Drawn, not every sixth row or the last ones: the mean row has a standard error of about 50.
    assert abs(test.mean() - 3000) < 200 and len(np.unique(np.diff(test))) > 5


def test_addends_are_even_and_tell_nothing_of_other_rows_or_seeds() -> None:
    addends = digit_adder.draw_addends(42_000, seed=2026)
    other = digit_adder.draw_addends(42_000, seed=2027)
    assert (addends == other).mean() == pytest.approx(0.1, abs=0.006)  # four standard errors
    assert stats.chisquare(np.bincount(addends, minlength=10)).pvalue > 1e-4
    pairs = np.bincount(addends[:-1] * 10 + addends[1:], minlength=100)
    assert stats.chisquare(pairs).pvalue > 1e-4


@pytest.mark.slow
def test_same_arguments_give_the_same_bytes(digits_csv: Path, tmp_path: Path) -> None:
    first, second, other = (tmp_path / name for name in ("first", "second", "other"))
    assert digit_adder.main([str(digits_csv), str(first)]) == 0
    before = contents(first)
    assert run("make_data/digit_adder", digits_csv, second, "--seed", 2026).returncode == 0
    assert contents(second) == before
    assert digit_adder.main([str(digits_csv), str(first)]) == 0
    assert contents(first) == before
    assert digit_adder.main([str(digits_csv), str(other), "--seed", "1"]) == 0
    changed = {name for name, content in contents(other).items() if content != before[name]}
    assert changed == {"train.csv", "test.csv", "solution.csv"}
    rows = [
        set(pd.read_csv(folder / "test.csv")[PIXELS].itertuples(index=False)) for folder in (first, other)
    ]
    assert rows[0] != rows[1]


# ---------------------------------------------------------------- mistakes


@pytest.mark.slow
def test_a_mistake_is_one_line_without_a_traceback(tmp_path: Path) -> None:
    done = run("make_data/digit_adder", tmp_path / "absent.csv", tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr == f"digit_adder: {tmp_path / 'absent.csv'}: no such file; fix the path\n"
    assert done.stdout == "" and not (tmp_path / "out").exists()


def fails(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """What the program says of a mistake, without its name."""
    assert digit_adder.main([str(word) for word in words]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("digit_adder: ")
    return line.removeprefix("digit_adder: ")


def test_too_few_images_of_a_digit_are_named(
    large_digits: Digits, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, labels = large_digits
    rows = np.sort(np.concatenate([np.flatnonzero(labels != 3), np.flatnonzero(labels == 3)[:5]]))
    path = write_digits(tmp_path / "few.csv", images[rows], labels[rows])
    said = fails(capsys, path, tmp_path / "out")
    assert said == f"{path}: too few digits, images 5 of 3; give at least 6 of each digit 0..9"


def test_six_images_of_each_digit_are_enough(large_digits: Digits, tmp_path: Path) -> None:
    images, labels = large_digits
    rows = np.concatenate([np.flatnonzero(labels == digit)[:6] for digit in range(10)])
    path = write_digits(tmp_path / "few.csv", images[rows], labels[rows])
    assert digit_adder.main([str(path), str(tmp_path / "out")]) == 0
    assert len(pd.read_csv(tmp_path / "out" / "test.csv")) == 10


def test_a_wrong_label_is_named(
    large_digits: Digits, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = large_digits[1].copy()
    labels[4] = 17
    path = write_digits(tmp_path / "sums.csv", large_digits[0], labels)
    said = fails(capsys, path, tmp_path / "out")
    assert said == (
        f"{path}, row 6, column label: '17' is not a digit; write the label as 0..9, or drop the image"
    )


def test_the_source_is_never_written_over(
    large_digits: Digits, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_digits(tmp_path / "train.csv", *large_digits)
    before = contents(tmp_path)
    assert fails(capsys, path, tmp_path) == f"{tmp_path}: holds the digits to read; name another folder"
    assert contents(tmp_path) == before


def test_nothing_changes_unless_all_is_written(
    digits_csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    assert digit_adder.main([str(digits_csv), str(folder)]) == 0
    before, write = contents(folder), Path.write_text

    def full_disk(path: Path, text: str, **options: str) -> int:
        if "solution" in path.name:
            raise OSError(28, "No space left on device")
        return write(path, text, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "write_text", full_disk)
        said = fails(capsys, digits_csv, folder, "--seed", 9)
    assert said == f"{folder}/solution.csv: cannot be written (No space left on device)"
    assert contents(folder) == before
