"""Exact and near-identical images, found so that they stay in one fold."""

from __future__ import annotations

import hashlib
import math

import numpy as np
from numpy.typing import NDArray

from softvote.data.pixels import Pixels, iterate_pixels
from softvote.errors import UserError

_COARSE = 16  # side of the grid that large images are averaged to before neighbours are sought


_COMPONENTS = 8  # dimensions in which neighbours are sought; more prune pairs, but slow the tree down


_CROWD = 100  # neighbours an image has on average where the distance no longer tells twins


_ASKED = 2000  # images whose neighbours are counted to know how many one has on average


_BLOCK = 1024  # images averaged or pairs compared at once


_SLACK = 1e-3  # rounding in the projection, as a share of the distance


def near_identical_groups(images: Pixels, distance: float) -> NDArray[np.int64]:
    """Number the groups of images that are connected by near-identical pairs.

    Candidates come from a k-d tree over a few principal components, where images can only be closer
    than they are in pixels, so no pair is missed; each candidate is then measured in all its pixels.

    Args:
        images: uint8 (N, C, H, W).
        distance: the largest root mean square difference, in grey levels of 0..255.

    Returns:
        int64 (N,), group numbers in the order of their first image.

    Raises:
        UserError: so many images are that close that the distance says nothing.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    different, copy_of = _without_exact_copies(images)
    pairs = _near_identical_pairs(images, different, distance)
    ones, count = np.ones(len(pairs), dtype=np.int8), len(different)
    graph = coo_matrix((ones, (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    _, component = connected_components(graph, directed=False)
    _, first, groups = np.unique(component[copy_of], return_index=True, return_inverse=True)
    rank: NDArray[np.int64] = np.argsort(np.argsort(first)).astype(np.int64)
    return rank[groups]


def _without_exact_copies(images: Pixels) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first row of each different image, and for every row which of those it shows."""
    digests = [
        hashlib.blake2b(image.tobytes(), digest_size=16).digest()
        for part in iterate_pixels(images)
        for image in part
    ]
    _, first, copy_of = np.unique(np.array(digests), return_index=True, return_inverse=True)
    return first, copy_of


def _near_identical_pairs(images: Pixels, different: NDArray[np.int64], distance: float) -> NDArray[np.int64]:
    """Pairs int64 (n, 2) of positions in `different`, which are rows of `images`."""
    from scipy.spatial import cKDTree

    projected, pixels_a_value = _projected(images, different)
    # The mean of p pixels moves by at most 1/sqrt(p) of what the pixels together moved.
    radius = distance * np.sqrt(math.prod(images.shape[1:]) / pixels_a_value)
    radius = radius * (1 + _SLACK) + _SLACK
    tree = cKDTree(projected)
    asked = projected[:: math.ceil(len(projected) / _ASKED)]
    if tree.query_ball_point(asked, radius, return_length=True).mean() > _CROWD:
        raise UserError.at(
            "folds.near_identical",
            f"{distance:g} grey levels join most of these images",
            "set it lower, or to 0",
        )
    pairs: NDArray[np.int64] = tree.query_pairs(radius, output_type="ndarray")
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    blocks = [different[pairs[start : start + _BLOCK]] for start in range(0, len(pairs), _BLOCK)]
    near = [_root_mean_square(images[block.ravel()]) <= distance for block in blocks]
    return pairs[np.concatenate(near)] if near else pairs


def _projected(images: Pixels, rows: NDArray[np.int64]) -> tuple[NDArray[np.float64], int]:
    """These images in a few principal components of their block means, and the pixels in a block.

    They are averaged a block of rows at a time, twice: the means of all would need more than the pixels.
    """
    blocks = [rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK)]
    first, pixels_a_value = block_means(images[rows[:1]])
    total, squares = np.zeros(first.size), np.zeros((first.size, first.size))
    for block in blocks:
        points = block_means(images[block])[0].astype(np.float64)
        total += points.sum(axis=0)
        squares += points.T @ points
    centre = total / len(rows)
    _, vectors = np.linalg.eigh(squares - len(rows) * np.outer(centre, centre))
    principal = vectors[:, -_COMPONENTS:]
    projected = [(block_means(images[block])[0] - centre) @ principal for block in blocks]
    return np.concatenate(projected), pixels_a_value


def _root_mean_square(pairs: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Of the difference of each pair, uint8 (2 n, C, H, W) of one pair after another -> float64 (n,)."""
    difference = pairs[::2].astype(np.int32) - pairs[1::2]
    squares = difference.reshape(len(difference), -1).astype(np.float64) ** 2
    return np.asarray(np.sqrt(squares.mean(axis=1)))


def block_means(images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], int]:
    """Block means of at most about 16 x 16 a channel, float32 (N, D), and the pixels in a block."""
    _, _, height, width = images.shape
    block_height, block_width = -(-height // _COARSE), -(-width // _COARSE)
    tall, wide = height // block_height * block_height, width // block_width * block_width
    cropped = images[:, :, :tall, :wide]
    blocks = cropped.reshape(
        *cropped.shape[:2], tall // block_height, block_height, wide // block_width, block_width
    )
    means = blocks.mean(axis=(3, 5), dtype=np.float32)
    return means.reshape(len(images), -1), block_height * block_width
