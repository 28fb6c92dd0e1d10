"""Stratified k-fold that keeps exact and near-identical images together."""

from __future__ import annotations

import hashlib
import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softvote.artifacts import PipelineFolder, key_of, read_json, sha256_of, write_json, write_text
from softvote.errors import UserError
from softvote.pipeline import Folds

_COARSE = 16  # side of the grid that large images are averaged to before neighbours are sought
_COMPONENTS = 8  # dimensions in which neighbours are sought; more prune pairs, but slow the tree down
_CROWD = 100  # neighbours an image has on average where the distance no longer tells twins
_ASKED = 2000  # images whose neighbours are counted to know how many one has on average
_BLOCK = 1024  # images averaged or pairs compared at once
_SLACK = 1e-3  # rounding in the projection, as a share of the distance


@dataclass(frozen=True)
class FoldTable:
    """Which fold each training row belongs to.

    Attributes:
        folds: int64 (N,), 0..count-1.
        key: short hash of the table.
    """

    folds: NDArray[np.int64]
    key: str


def near_identical_groups(images: NDArray[np.uint8], distance: float) -> NDArray[np.int64]:
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


def _without_exact_copies(images: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first row of each different image, and for every row which of those it shows."""
    digests = [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in images]
    _, first, copy_of = np.unique(np.array(digests), return_index=True, return_inverse=True)
    return first, copy_of


def _near_identical_pairs(
    images: NDArray[np.uint8], different: NDArray[np.int64], distance: float
) -> NDArray[np.int64]:
    """Pairs int64 (n, 2) of positions in `different`, which are rows of `images`."""
    from scipy.spatial import cKDTree

    projected, pixels_a_value = _projected(images, different)
    # The mean of p pixels moves by at most 1/sqrt(p) of what the pixels together moved.
    radius = distance * np.sqrt(images[0].size / pixels_a_value)
    radius = radius * (1 + _SLACK) + _SLACK
    tree = cKDTree(projected)
    asked = projected[:: math.ceil(len(projected) / _ASKED)]
    if tree.query_ball_point(asked, radius, return_length=True).mean() > _CROWD:
        raise UserError(
            f"folds.near_identical: {distance:g} grey levels join most of these images; set it lower, or to 0"
        )
    pairs: NDArray[np.int64] = tree.query_pairs(radius, output_type="ndarray")
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    blocks = [different[pairs[start : start + _BLOCK]] for start in range(0, len(pairs), _BLOCK)]
    near = [_root_mean_square(images[block]) <= distance for block in blocks]
    return pairs[np.concatenate(near)] if near else pairs


def _projected(images: NDArray[np.uint8], rows: NDArray[np.int64]) -> tuple[NDArray[np.float64], int]:
    """These images in a few principal components of their block means, and the pixels in a block.

    They are averaged a block of rows at a time, twice: the means of all would need more than the pixels.
    """
    blocks = [rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK)]
    first, pixels_a_value = _coarse(images[rows[:1]])
    total, squares = np.zeros(first.size), np.zeros((first.size, first.size))
    for block in blocks:
        points = _coarse(images[block])[0].astype(np.float64)
        total += points.sum(axis=0)
        squares += points.T @ points
    centre = total / len(rows)
    _, vectors = np.linalg.eigh(squares - len(rows) * np.outer(centre, centre))
    principal = vectors[:, -_COMPONENTS:]
    projected = [(_coarse(images[block])[0] - centre) @ principal for block in blocks]
    return np.concatenate(projected), pixels_a_value


def _root_mean_square(pairs: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Of the difference of each pair, uint8 (n, 2, C, H, W) -> float64 (n,)."""
    difference = pairs[:, 0].astype(np.int32) - pairs[:, 1]
    squares = difference.reshape(len(pairs), -1).astype(np.float64) ** 2
    return np.asarray(np.sqrt(squares.mean(axis=1)))


def _coarse(images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], int]:
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


def split(labels: NDArray[np.int64], groups: NDArray[np.int64], spec: Folds, seed: int) -> NDArray[np.int64]:
    """Assign whole groups to folds, stratified by the label of their first image.

    Args:
        labels: int64 (N,).
        groups: int64 (N,), as `near_identical_groups` numbers them.
        spec: how many folds.
        seed: of the shuffle.

    Returns:
        int64 (N,), the fold of each row, 0..count-1.

    Raises:
        UserError: fewer groups than folds.
    """
    from sklearn.model_selection import StratifiedKFold

    _, first = np.unique(groups, return_index=True)
    if len(first) < spec.count:
        raise UserError(f"folds.count: {spec.count} folds need as many different images, not {len(first)}")
    fold_of_group = np.empty(len(first), dtype=np.int64)
    splitter = StratifiedKFold(spec.count, shuffle=True, random_state=seed % 2**32)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the stage tells which classes are rare
            for fold, (_, held_out) in enumerate(splitter.split(first, labels[first])):
                fold_of_group[held_out] = fold
    except ValueError:
        raise UserError(
            f"folds.count: no class has {spec.count} different images, one a fold; take fewer folds"
        ) from None
    return fold_of_group[groups]


def origin(labels: NDArray[np.int64], train_digest: str, spec: Folds, seed: int) -> dict[str, Any]:
    """What a fold table is made from; two tables with equal origins are equal."""
    return {
        "data": train_digest,
        "rows": len(labels),
        "count": spec.count,
        "near_identical": spec.near_identical,
        "seed": seed,
    }


def write_folds(
    folder: PipelineFolder, labels: NDArray[np.int64], folds: NDArray[np.int64], made_from: dict[str, Any]
) -> None:
    """Write `folds.csv` and then, beside it, what it was made from."""
    lines = [f"{row},{label},{fold}" for row, (label, fold) in enumerate(zip(labels, folds, strict=True))]
    write_text(folder.folds, "\n".join(["row,label,fold", *lines]) + "\n")
    write_json(folder.folds_origin, made_from | {"sha256": sha256_of(folder.folds)})


def up_to_date(folder: PipelineFolder, made_from: dict[str, Any]) -> bool:
    """Whether the finished table on disk is the one that would be made now.

    Raises:
        UserError: it belongs to other data, or to another recipe while trainings rest on it.
    """
    written = _written_origin(folder)
    if not written:
        return False
    _refuse_other_data(folder.folds, written, made_from)
    if all(written.get(name) == fact for name, fact in made_from.items()):
        return _is_whole(folder, written)  # a damaged table is made again, byte for byte
    _refuse_orphans(folder)
    return False


def read_folds(folder: PipelineFolder, made_from: dict[str, Any]) -> FoldTable:
    """Read the fold table that belongs to this data and this pipeline.

    Args:
        made_from: what `origin` says of the data at hand.

    Raises:
        UserError: there is none, it was changed, or it belongs to other data or another recipe.
    """
    written = _written_origin(folder)
    if not written:
        raise UserError(f"{folder.folds}: missing or unfinished; run the folds stage first")
    _refuse_other_data(folder.folds, written, made_from)
    changed = [name for name, fact in made_from.items() if written.get(name) != fact]
    if changed:
        was = ", ".join(f"{name} {written.get(name)}, now {made_from[name]}" for name in changed)
        raise UserError(
            f"{folder.folds}: was made with {was}; run the folds stage again, or give this stage "
            "the --set that folds had"
        )
    if not _is_whole(folder, written):
        raise UserError(
            f"{folder.folds}: is missing or was changed after it was written; run the folds stage again"
        )
    folds = np.loadtxt(folder.folds, delimiter=",", skiprows=1, usecols=2, dtype=np.int64, ndmin=1)
    return FoldTable(folds, key_of(written["sha256"]))


def _written_origin(folder: PipelineFolder) -> dict[str, Any]:
    return read_json(folder.folds_origin)


def _is_whole(folder: PipelineFolder, written: dict[str, Any]) -> bool:
    return folder.folds.is_file() and sha256_of(folder.folds) == written.get("sha256")


def _refuse_orphans(folder: PipelineFolder) -> None:
    trained = len([*folder.path.glob("*/fold*/recipe.json"), *folder.path.glob("*/refit/recipe.json")])
    if trained:
        raise UserError(
            f"{folder.folds}: is not what would be made now, and {trained} trainings rest on it; put the "
            f"pipeline's folds and seed back, name another pipeline, or delete {folder.path} to start anew"
        )


def _refuse_other_data(path: Path, written: dict[str, Any], made_from: dict[str, Any]) -> None:
    if written.get("data") == made_from["data"]:
        return
    raise UserError(
        f"{path}: belongs to other data: it was made from {written.get('rows')} rows, here are "
        f"{made_from['rows']} with other content; put that data back, or delete {path.parent} to start anew"
    )
