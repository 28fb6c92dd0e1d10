"""Belief propagation held against counting all that could be."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from softvote.training.belief_propagation import propagate


def by_counting(
    readings: NDArray[np.float64], glyphs: NDArray[np.int64], sums: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Marginals of every glyph over all ways to name them."""
    count = int(glyphs.max()) + 1
    total = np.zeros((count, 10))
    for digits in product(range(10), repeat=count):
        named = np.array(digits)[glyphs]
        if (named.sum(axis=1) == sums).all():
            weight = np.take_along_axis(readings, named[..., None], axis=2).prod()
            total[np.arange(count), list(digits)] += weight
    return np.asarray(total / total.sum(axis=1, keepdims=True))


def random_readings(images: int, places: int, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).dirichlet(np.full(10, 0.3), (images, places))


# Glyphs of each image: no glyph joins two images along two ways, so that the result is exact.
TREES = {
    "one image of one": ([[0]], [7]),
    "one image of two": ([[0, 1]], [11]),
    "one image of four": ([[0, 1, 2, 3]], [20]),
    "two images share one": ([[0, 1], [1, 2]], [9, 14]),
    "a chain": ([[0, 1], [1, 2], [2, 3]], [4, 9, 12]),
    "a star": ([[0, 1], [0, 2], [0, 3], [0, 4]], [2, 9, 10, 5]),
    "three a piece": ([[0, 1, 2], [2, 3, 4]], [14, 9]),
    "one that never stands again": ([[0, 1], [2, 3]], [18, 0]),
}


@pytest.mark.slow_but(
    "a chain-0.0",
    "a chain-0.3",
    "a star-0.3",
    "one image of four-0.0",
    "one image of four-0.3",
    "one image of one-0.0",
    "one image of one-0.3",
    "one image of two-0.0",
    "one image of two-0.3",
    "one that never stands again-0.0",
    "one that never stands again-0.3",
    "two images share one-0.0",
    "two images share one-0.3",
)
@pytest.mark.parametrize("damping", [0.0, 0.3])
@pytest.mark.parametrize("name", TREES)
def test_exact_where_there_are_no_loops(name: str, damping: float) -> None:
    glyphs, sums = (np.array(part) for part in TREES[name])
    readings = random_readings(*glyphs.shape)
    found = propagate(readings, glyphs, sums, rounds=60 if damping else 8, damping=damping)
    np.testing.assert_allclose(found, by_counting(readings, glyphs, sums), atol=1e-9)


def test_a_loop_is_named_right_all_the_same() -> None:
    glyphs, sums = np.array([[0, 1], [1, 2], [2, 0]]), np.array([9, 11, 8])  # 3, 6, 5
    readings = np.full((3, 2, 10), 0.1)
    readings[0, 0, [3, 4]] = 0.3
    found = propagate(readings, glyphs, sums, rounds=30)
    assert found.argmax(1).tolist() == by_counting(readings, glyphs, sums).argmax(1).tolist() == [3, 6, 5]


def test_wrong_readings_are_put_right_by_sums() -> None:
    """Simulated: 1,000 glyphs in 1,500 images, one reading in twenty wrong and sure of it."""
    draw = np.random.default_rng(0)
    digits, glyphs = draw.integers(0, 10, 1000), draw.integers(0, 1000, (1500, 4))
    seen = np.where(draw.random(glyphs.shape) < 0.05, draw.integers(0, 10, glyphs.shape), digits[glyphs])
    readings = np.full((1500, 4, 10), 0.01)
    np.put_along_axis(readings, seen[..., None], 0.91, axis=2)
    found = propagate(readings, glyphs, digits[glyphs].sum(axis=1))
    stands = np.unique(glyphs)
    assert (found.argmax(1) == digits)[stands].all()
    assert (seen != digits[glyphs]).mean() > 0.04


def test_a_sum_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="sums 19 to 19 are not those of 2 digits"):
        propagate(random_readings(1, 2), np.array([[0, 1]]), np.array([19]))


def test_without_images_there_are_no_glyphs() -> None:
    nothing = np.zeros((0, 4), np.int64)
    assert propagate(np.zeros((0, 4, 10)), nothing, np.zeros(0, np.int64)).shape == (0, 10)
