"""Digits from sums: belief propagation between glyphs and the sums of the images they stand in.

A sum says little about one digit, but a glyph (one drawing of a digit) stands in several images, and in each
of them its digit and the others must make the sum. Sum-product belief propagation on that factor graph
(Kschischang, Frey and Loeliger 2001): a glyph multiplies what its readings and its images say; an image tells
each of its glyphs the convolution of the other digits' distributions, read backwards from the sum.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from softvote.task import LARGEST_DIGIT

_DIGITS = LARGEST_DIGIT + 1


_NOTHING = 1e-30  # for probabilities of zero, whose logs are numbers


def propagate(
    readings: NDArray[np.float64],
    glyphs: NDArray[np.int64],
    sums: NDArray[np.int64],
    rounds: int = 10,
    damping: float = 0.3,
) -> NDArray[np.float64]:
    """The digit of each glyph, by all that was read and all sums; exact where the graph has no loops.

    Args:
        readings: float64 (N, S, 10), probabilities of the S digits of each image, as a network reads them.
        glyphs: int64 (N, S), the number 0..G-1 of the glyph in each place. One that is found nowhere else
            has a number of its own.
        sums: int64 (N,), what the digits of each image add up to.
        rounds: how often every image tells its glyphs; ten are plenty where most glyphs stand in two images.
        damping: the share of the last round's message (its log) that stays, against swinging to and fro.

    Returns:
        float64 (G, 10), rows that sum to 1.

    Raises:
        ValueError: a sum that no digits make.
    """
    if len(sums) and not (sums.min() >= 0 and sums.max() <= LARGEST_DIGIT * readings.shape[1]):
        raise ValueError(f"sums {sums.min()} to {sums.max()} are not those of {readings.shape[1]} digits")
    evidence = _add_up(np.log(np.maximum(readings, _NOTHING)), glyphs)
    told = np.zeros_like(readings)
    for _ in range(rounds):
        beliefs = evidence + _add_up(told, glyphs)
        news = np.log(np.maximum(_messages_of_sums(_probabilities(beliefs[glyphs] - told), sums), _NOTHING))
        news -= news.max(axis=2, keepdims=True)
        told = damping * told + (1 - damping) * news
    return _probabilities(evidence + _add_up(told, glyphs))


def _add_up(logs: NDArray[np.float64], glyphs: NDArray[np.int64]) -> NDArray[np.float64]:
    """float64 (N, S, 10) -> float64 (G, 10), the total over the places of each glyph."""
    flat, count = glyphs.reshape(-1), int(glyphs.max(initial=-1)) + 1
    each = [np.bincount(flat, logs[..., digit].reshape(-1), minlength=count) for digit in range(_DIGITS)]
    return np.stack(each, axis=1)


def _probabilities(logs: NDArray[np.float64]) -> NDArray[np.float64]:
    shares = np.exp(logs - logs.max(axis=-1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=-1, keepdims=True))


def _messages_of_sums(each: NDArray[np.float64], sums: NDArray[np.int64]) -> NDArray[np.float64]:
    """What each image tells each place: how probable the others make it that they leave this digit.

    Args:
        each: float64 (N, S, 10), what the places are thought to show by all but this image.

    Returns:
        float64 (N, S, 10), not normalised.
    """
    count, places, _ = each.shape
    none = np.ones((count, 1))
    before, after = [none], [none]
    for place in range(places - 1):
        before.append(_convolve(before[-1], each[:, place]))
        after.append(_convolve(after[-1], each[:, places - 1 - place]))
    left = sums[:, None] - np.arange(_DIGITS)  # for the other places together
    told = np.zeros_like(each)
    for place in range(places):
        others = _convolve(before[place], after[places - 1 - place])
        possible = (left >= 0) & (left < others.shape[1])
        told[:, place] = np.where(
            possible, np.take_along_axis(others, np.clip(left, 0, others.shape[1] - 1), axis=1), 0.0
        )
    return told


def _convolve(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distributions of sums of two: float64 (N, A) and (N, B) -> float64 (N, A + B - 1)."""
    if first.shape[1] < second.shape[1]:
        first, second = second, first
    total = np.zeros((len(first), first.shape[1] + second.shape[1] - 1))
    for value in range(second.shape[1]):
        total[:, value : value + first.shape[1]] += first * second[:, value, None]
    return total
