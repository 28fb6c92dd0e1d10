"""ops.resampling and data.resizing: the bits of Pillow, or Pillow itself."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from softvote.data import resizing
from softvote.data.resizing import choose_resize, resize_by_pillow
from softvote.ops import resampling
from softvote.ops.resampling import resize_bilinear


@pytest.fixture(autouse=True)
def chosen_anew() -> Iterator[None]:
    """Which way is taken is found out once for each process."""
    resizing._faster.cache_clear()
    yield
    resizing._faster.cache_clear()


def images() -> Iterator[tuple[NDArray[np.uint8], int, int]]:
    """Of any sizes before and after; some are white, some are black and white."""
    random = np.random.default_rng(5)
    for number in range(150):
        before, (height, width) = random.integers(1, 160, 2), random.integers(1, 160, 2)
        shape = (*before, 3) if number % 2 else tuple(before)
        image = random.integers(0, 256, shape, np.uint8)
        image[image > (300, 127, 0)[number % 3]] = 255
        yield image, int(height), int(width)
    yield random.integers(0, 256, (900, 1200, 3), np.uint8), 24, 24
    yield random.integers(0, 256, (12, 12), np.uint8), 12, 12


def test_every_size_gives_the_bits_of_pillow() -> None:
    resize = choose_resize(resizing._MANY)
    for image, height, width in images():
        shown = Image.fromarray(image)
        found = resize(shown, height, width)
        assert np.array_equal(found, resize_by_pillow(shown, height, width)), (image.shape, height, width)
        assert found.dtype == np.uint8


def test_the_loops_serve_this_pillow() -> None:
    assert choose_resize(resizing._MANY) is not resize_by_pillow
    assert choose_resize(resizing._MANY - 1) is resize_by_pillow  # which needs no machine code


def test_the_width_may_always_come_first() -> None:
    """As in versions of Pillow before 13: both passes apart, each of which is Pillow's."""
    image = np.random.default_rng(0).integers(0, 256, (90, 20, 3), np.uint8)
    narrow = resize_by_pillow(Image.fromarray(image), 90, 13)
    expected = resize_by_pillow(Image.fromarray(narrow), 21, 13)
    assert np.array_equal(resize_bilinear(image, 21, 13, by_height=False), expected)
    assert not np.array_equal(resize_bilinear(image, 21, 13), expected)


def test_where_they_differ_pillow_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resampling, "_BITS", 12)
    monkeypatch.setattr(resampling, "blend_lines", resampling.blend_lines.py_func)  # type: ignore[attr-defined]
    resampling.bilinear_weights.cache_clear()
    assert choose_resize(resizing._MANY) is resize_by_pillow
    resampling.bilinear_weights.cache_clear()
