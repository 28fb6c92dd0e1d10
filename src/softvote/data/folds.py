"""Stratified k-fold that keeps exact and near-identical images together."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softvote.config.pipeline import FoldsConfig
from softvote.errors import UserError
from softvote.storage.files import read_json, write_json, write_text
from softvote.storage.fingerprints import fingerprint, sha256_of
from softvote.storage.paths import PipelineFolder


@dataclass(frozen=True)
class FoldTable:
    """Which fold each training row belongs to.

    Attributes:
        folds: int64 (N,), 0..count-1.
        key: short hash of the table.
    """

    folds: NDArray[np.int64]
    key: str


def split(
    labels: NDArray[np.int64], groups: NDArray[np.int64], spec: FoldsConfig, seed: int
) -> NDArray[np.int64]:
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


def fold_inputs(
    labels: NDArray[np.int64], train_fingerprint: str, spec: FoldsConfig, seed: int
) -> dict[str, Any]:
    """What a fold table is made from; two tables with equal origins are equal."""
    return {
        "data": train_fingerprint,
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
    written = _written_inputs(folder)
    if not written:
        return False
    _refuse_other_data(folder.folds, written, made_from)
    if all(written.get(name) == fact for name, fact in made_from.items()):
        return _is_intact(folder, written)  # a damaged table is made again, byte for byte
    _refuse_orphans(folder)
    return False


def read_folds(folder: PipelineFolder, made_from: dict[str, Any]) -> FoldTable:
    """Read the fold table that belongs to this data and this pipeline.

    Args:
        made_from: what `fold_inputs` says of the data at hand.

    Raises:
        UserError: there is none, it was changed, or it belongs to other data or another recipe.
    """
    written = _written_inputs(folder)
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
    if not _is_intact(folder, written):
        raise UserError(
            f"{folder.folds}: is missing or was changed after it was written; run the folds stage again"
        )
    folds = np.loadtxt(folder.folds, delimiter=",", skiprows=1, usecols=2, dtype=np.int64, ndmin=1)
    return FoldTable(folds, fingerprint(written["sha256"]))


def _written_inputs(folder: PipelineFolder) -> dict[str, Any]:
    return read_json(folder.folds_origin)


def _is_intact(folder: PipelineFolder, written: dict[str, Any]) -> bool:
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
