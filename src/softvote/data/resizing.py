"""Bringing images to a size: by Pillow, or where they are many by loops that give the same bits."""

from __future__ import annotations

import functools
import platform
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

Resize = Callable[["Image.Image", int, int], NDArray[np.uint8]]
"""(image in mode L or RGB, height, width) -> uint8 (height, width), or (height, width, 3) of RGB."""


_MANY = 2000  # images, for which it pays to load the loops; compiled for the first time, they take 2 s


_PROBES = [((40, 30), (17, 29)), ((30, 40), (20, 12)), ((16, 16), (31, 20)), ((9, 64), (30, 7))]
"""Heights and widths before and after, by which loops and Pillow are compared."""


def choose_resize(count: int) -> Resize:
    """What brings so many images to their size in the least time."""
    return _faster() if count >= _MANY else resize_by_pillow


def resize_by_pillow(image: Image.Image, height: int, width: int) -> NDArray[np.uint8]:
    """As `Resize` has it."""
    from PIL import Image

    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))


@functools.cache
def _faster() -> Resize:
    """The loops, where they give what this version of Pillow does."""
    if platform.machine().lower() not in ("x86_64", "amd64"):  # others may round weights in another way
        return resize_by_pillow
    from softvote.ops.resampling import resize_bilinear  # which imports Numba

    for by_height in (True, False):

        def resize(
            image: Image.Image, height: int, width: int, by_height: bool = by_height
        ) -> NDArray[np.uint8]:
            return resize_bilinear(np.asarray(image), height, width, by_height)

        if _agrees_with_pillow(resize):
            return resize
    return resize_by_pillow


def _agrees_with_pillow(resize: Resize) -> bool:
    from PIL import Image

    random = np.random.default_rng(0)
    for before, after in _PROBES:
        image = Image.fromarray(random.integers(0, 256, (*before, 3), np.uint8))
        if not np.array_equal(resize(image, *after), resize_by_pillow(image, *after)):
            return False
    return True
