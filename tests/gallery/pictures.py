"""Tiny images that show their label, so that a network can score above chance on them."""

from __future__ import annotations

from collections.abc import Sequence
from colorsys import hsv_to_rgb

import numpy as np
from gallery.download import Pixels
from numpy.typing import NDArray
from sklearn.datasets import load_digits

NOISE = 14
"""Grey levels of the noise: two images of a class are not near-identical ones."""


def photograph(rng: np.random.Generator, label: int, of: int, height: int = 24, width: int = 32) -> Pixels:
    """An image in a colour of its class and a brightness of its own, uint8 (H, W, 3)."""
    colour = np.array(hsv_to_rgb(label / of, 0.8, rng.uniform(0.55, 0.85))) * 255
    return noisy(rng, np.broadcast_to(colour, (height, width, 3)))


def draw_grade(rng: np.random.Generator, grade: int, of: int, height: int = 32, width: int = 32) -> Pixels:
    """The higher the grade, the more of a dark disc is bright, uint8 (H, W, 3)."""
    y, x = np.mgrid[:height, :width]
    disc = np.hypot((y + 0.5) / height - 0.5, (x + 0.5) / width - 0.5) < 0.5
    spots = (rng.random((height, width)) < 0.1 + 0.8 * grade / (of - 1))[..., None]
    return noisy(rng, disc[..., None] * np.where(spots, [235, 190, 90], [90, 40, 20]))


def draw_tags(rng: np.random.Generator, tags: Sequence[bool], height: int = 32, width: int = 32) -> Pixels:
    """A patch in a place and colour of its own for every tag, uint8 (H, W, 3)."""
    columns = int(np.ceil(np.sqrt(len(tags))))
    across, down = width // columns, height // -(-len(tags) // columns)
    image = np.full((height, width, 3), 40.0)
    for tag in np.flatnonzero(tags):
        top, left = tag // columns * down, tag % columns * across
        image[top : top + down, left : left + across] = np.array(hsv_to_rgb(tag / len(tags), 0.7, 0.95)) * 255
    return noisy(rng, image)


def handwritten(rng: np.random.Generator, count: int) -> tuple[Pixels, NDArray[np.int64]]:
    """Real digits, uint8 (count, 28, 28) in white on black, and what they are; each of ten about equally."""
    data = load_digits()
    rows = rng.permutation(len(data.target))[:count]
    large = np.kron(data.images[rows] * (255 / 16), np.ones((1, 3, 3)))
    padded = np.pad(large, ((0, 0), (2, 2), (2, 2)))
    return padded.round().astype(np.uint8), data.target[rows].astype(np.int64)


def noisy(rng: np.random.Generator, image: NDArray[np.float64]) -> Pixels:
    return (image + rng.normal(0, NOISE, image.shape)).clip(0, 255).round().astype(np.uint8)


def balanced_labels(rng: np.random.Generator, count: int, of: int) -> list[int]:
    """Labels 0..of-1, each about equally often, in random order."""
    return [int(label) for label in rng.permutation(np.arange(count) % of)]


def random_tags(rng: np.random.Generator, count: int, of: int, rate: float = 0.3) -> NDArray[np.bool_]:
    """Tags bool (count, of): each in some rows and not in others, and one at least in every row."""
    while True:
        tags = rng.random((count, of)) < rate
        tags[np.arange(count), rng.integers(0, of, count)] = True
        if (tags.sum(axis=0) >= 3).all() and (~tags).sum(axis=0).min() >= 3:
            return tags
