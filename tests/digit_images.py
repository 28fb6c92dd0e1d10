"""Images of several digits as the generator lays them out, and what learns from their glyphs."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from softvote.config.recipe import Member
from softvote.data.digit_layout import FIRST, SIDE, STEP_HIGH, STEP_LOW
from softvote.training.glyphs import Glyphs, cut_out, find_runs
from softvote.training.rows import Split

WIDTH, HEIGHT, S = 168, 40, 4


class Made(NamedTuple):
    """Images of several digits, and all that is to be found out about them."""

    sources: NDArray[np.uint8]
    names: NDArray[np.int64]
    images: NDArray[np.uint8]
    drawn: NDArray[np.int64]
    left: NDArray[np.int64]

    @property
    def sums(self) -> NDArray[np.int64]:
        return self.names[self.drawn].sum(axis=1)

    @property
    def centres(self) -> NDArray[np.float32]:
        return (self.left + SIDE / 2).astype(np.float32)

    def readings(self, wrong: float = 0.0) -> NDArray[np.float32]:
        draw = np.random.default_rng(9)
        right = self.names[self.drawn]
        seen = np.where(draw.random(right.shape) < wrong, draw.integers(0, 10, right.shape), right)
        found = np.full((*right.shape, 10), 0.005, np.float32)
        np.put_along_axis(found, seen[..., None], 0.955, axis=2)
        return found


def blots(count: int, seed: int = 0) -> NDArray[np.uint8]:
    """Different drawings of 20 rows in the middle of a box, every column of them inked, centred by mass."""
    draw = np.random.default_rng(seed)
    found = np.zeros((count, SIDE, SIDE), np.uint8)
    for image, width in zip(found, draw.integers(4, 15, count), strict=True):
        left = 14 - width // 2
        ink = draw.integers(1, 256, (20, width)) * (draw.random((20, width)) < 0.6)
        ink[0], ink[-1] = 200, 200
        image[4:24, left : left + width] = ink
    (centred, whole) = cut_out(found, find_runs(found))
    assert whole.all()
    return centred


def make(
    count: int, of: int, seed: int = 0, sources: NDArray[np.uint8] | None = None, digits: int = S
) -> Made:
    draw = np.random.default_rng(seed)
    sources = blots(of) if sources is None else sources
    names = np.random.default_rng(5).integers(0, 10, len(sources))
    drawn = draw.integers(0, len(sources), (count, digits))
    steps = draw.integers(
        [0, *[STEP_LOW] * (digits - 1)], [FIRST, *[STEP_HIGH] * (digits - 1)], (count, digits), endpoint=True
    )
    left, top = steps.cumsum(axis=1), draw.integers(0, HEIGHT - SIDE + 1, (count, digits))
    images = np.zeros((count, HEIGHT, WIDTH), np.uint8)
    for image, rows, x, y in zip(images, drawn, left, top, strict=True):
        for row, across, down in zip(rows, x, y, strict=True):
            box = image[down : down + SIDE, across : across + SIDE]
            box[:] = np.maximum(box, sources[row])
    return Made(sources, names, images, drawn, left)


def reader(**changes: Any) -> Member:
    """A member that learns from composed images."""
    recipe = {
        "model": "crop_reader", "model_args": {"classifier": "basic_cnn"}, "head": "digits",
        "glyphs_from": "slots",
        "epochs": 2, "batch_size": 16, "precision": "fp32", "memory_format": "contiguous",
        "optimizer": {"name": "adam", "lr": 0.003},
    }  # fmt: skip
    return Member.model_validate(recipe | changes)


def compose_rows(count: int) -> Split:
    """Blank images of sum 0: what is learned can only come from the glyphs."""
    return Split(
        torch.zeros(count, 1, 28, 80, dtype=torch.uint8),
        torch.zeros(count, dtype=torch.int64),
        np.arange(count),
        glyphs=Glyphs(blots(4), np.array([1, 3, 6, 8])),
    )
