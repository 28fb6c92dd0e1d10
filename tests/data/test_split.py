"""data.split: what belongs to an image stays with it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from softvote.data.split import ImageSplit

IMAGES = np.arange(5, dtype=np.uint8)[:, None, None, None]
LABELS, ADDENDS = np.array([10, 11, 12, 13, 14]), np.array([0, 1, 2, 3, 9])
WHOLE = ImageSplit(IMAGES, LABELS, list("abcde"), ADDENDS)


@pytest.mark.parametrize("rows", [np.array([3, 1]), np.array([], np.int64), slice(1, None, 2)], ids=str)
def test_all_that_belongs_to_an_image_is_taken_with_it(rows: NDArray[np.int64] | slice) -> None:
    some, numbers = WHOLE.take(rows), np.arange(5)[rows]
    assert len(some) == len(numbers) and np.ravel(np.asarray(some.images)).tolist() == numbers.tolist()
    assert some.labels is not None and some.labels.tolist() == (10 + numbers).tolist()
    assert some.addends is not None and some.addends.tolist() == ADDENDS[numbers].tolist()
    assert some.ids == [list("abcde")[number] for number in numbers]


def test_an_image_shows_its_label_less_the_addend() -> None:
    assert WHOLE.image_labels.tolist() == [10, 10, 10, 10, 5]
    assert ImageSplit(IMAGES, LABELS).image_labels is LABELS


def test_what_is_missing_stays_missing() -> None:
    some = ImageSplit(IMAGES).take(np.array([0]))
    assert some.labels is None and some.ids is None and some.addends is None
