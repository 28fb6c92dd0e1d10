"""What is done to images in processes of their own, which import this file for it and no more."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def change(images: NDArray[np.uint8], rows: NDArray[np.int64], seed: int) -> NDArray[np.uint8]:
    """One more column, which says the row and the seed."""
    told = np.broadcast_to((rows + seed).astype(np.uint8)[:, None, None, None], (*images.shape[:3], 1))
    return np.concatenate([images, told], axis=3)


def fail(images: NDArray[np.uint8], rows: NDArray[np.int64], seed: int) -> NDArray[np.uint8]:
    raise ValueError("no such image")


def shift(images: NDArray[np.uint8], rows: NDArray[np.int64], seed: int) -> NDArray[np.uint8]:
    return np.stack(
        [np.roll(image, (row + seed) % 3, axis=2) for image, row in zip(images, rows, strict=True)]
    )
