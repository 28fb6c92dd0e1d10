"""scripts/digits_in_common.py: finds the digits that images were put together from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from programs import Digits, enlarge, load, run, write_digits

four_digits, digits_in_common = load("make_data/four_digits"), load("digits_in_common")


@pytest.fixture
def folders(tmp_path: Path, digits: Digits) -> tuple[Path, Path]:
    """Sums of the first 300 digits as training images, of 200 others as test images."""
    images, labels = enlarge(digits)
    sums, single = tmp_path / "sums", tmp_path / "digits"
    sums.mkdir()
    single.mkdir()
    for name, rows in (("train.csv", slice(0, 300)), ("test.csv", slice(300, 500))):
        write_digits(single / name, images[rows], labels[rows])
    source = four_digits.DigitImages(images[:300], labels[:300])
    for part in range(3):
        np.save(sums / f"data{part}.npy", four_digits.make(source, 100, part).images)
    other = four_digits.DigitImages(images[300:500], labels[300:500])
    np.save(sums / "test.npy", four_digits.make(other, 100, 3).images)
    return sums, single


def test_every_digit_is_found_where_it_came_from(folders: tuple[Path, Path]) -> None:
    done = run("digits_in_common", *folders)
    assert (done.returncode, done.stderr) == (0, "")
    training, test, again = done.stdout.splitlines()
    assert "of training images: 100.0% in train.csv, 0.0% in test.csv" in training
    assert "of test images: 0.0% in train.csv, 100.0% in test.csv" in test
    assert int(training.split()[0]) > 150  # of 300: the others touch
    assert 30 < float(again.split("%")[0]) < 75


def test_a_missing_file_is_one_line(folders: tuple[Path, Path]) -> None:
    (folders[0] / "data1.npy").unlink()
    done = run("digits_in_common", *folders)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("digits_in_common: ") and "data1.npy: is missing" in done.stderr
    assert len(done.stderr.splitlines()) == 1
