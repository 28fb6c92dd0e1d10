"""Stratified k-fold that keeps exact and near-identical images together."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from softvote.config.pipeline import FoldsConfig
from softvote.errors import UserError
from softvote.storage.files import write_text
from softvote.storage.fingerprints import fingerprint, sha256_of
from softvote.storage.paths import PipelineFolder
from softvote.storage.records import JsonRecord
from softvote.storage.snapshot import is_intact


class FoldInputs(JsonRecord):
    """What a fold table is made from; two tables with equal inputs are equal.

    Attributes:
        data: fingerprint of the training rows.
        rows: how many there are.
        count: of the folds.
        near_identical: how different images of one group may be, as `FoldsConfig` has it.
        seed: of the shuffle.
    """

    data: str
    rows: int
    count: int
    near_identical: float
    seed: int


class FoldsRecord(FoldInputs):
    """`folds.json`: what the table beside it was made from; written after it, so it marks it whole."""

    sha256: str

    def changed(self, inputs: FoldInputs) -> list[str]:
        """Which of the inputs are others now."""
        return [name for name in FoldInputs.model_fields if getattr(self, name) != getattr(inputs, name)]


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
        raise UserError.at(
            "folds.count", f"{spec.count} folds need as many different images, not {len(first)}"
        )
    fold_of_group = np.empty(len(first), dtype=np.int64)
    splitter = StratifiedKFold(spec.count, shuffle=True, random_state=seed % 2**32)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the stage tells which classes are rare
            for fold, (_, held_out) in enumerate(splitter.split(first, labels[first])):
                fold_of_group[held_out] = fold
    except ValueError:
        raise UserError.at(
            "folds.count", f"no class has {spec.count} different images, one a fold", "take fewer folds"
        ) from None
    return fold_of_group[groups]


def fold_inputs(
    labels: NDArray[np.int64], train_fingerprint: str, spec: FoldsConfig, seed: int
) -> FoldInputs:
    """What the fold table of these labels is made from."""
    return FoldInputs(
        data=train_fingerprint,
        rows=len(labels),
        count=spec.count,
        near_identical=spec.near_identical,
        seed=seed,
    )


def write_folds(
    folder: PipelineFolder, labels: NDArray[np.int64], folds: NDArray[np.int64], inputs: FoldInputs
) -> None:
    """Write `folds.csv` and then, beside it, what it was made from."""
    lines = [f"{row},{label},{fold}" for row, (label, fold) in enumerate(zip(labels, folds, strict=True))]
    write_text(folder.folds, "\n".join(["row,label,fold", *lines]) + "\n")
    FoldsRecord(**inputs.to_json(), sha256=sha256_of(folder.folds)).write(folder.folds_record)


def up_to_date(folder: PipelineFolder, inputs: FoldInputs) -> bool:
    """Whether the finished table on disk is the one that would be made now.

    Raises:
        UserError: it belongs to other data, or to another recipe while trainings rest on it.
    """
    written = FoldsRecord.read(folder.folds_record)
    if written is None:
        return False
    _refuse_other_data(folder.folds, written, inputs)
    if not written.changed(inputs):
        return is_intact(folder.folds, written.sha256)  # a damaged table is made again, byte for byte
    _refuse_orphans(folder)
    return False


def read_folds(folder: PipelineFolder, inputs: FoldInputs) -> FoldTable:
    """Read the fold table that belongs to this data and this pipeline.

    Args:
        inputs: what `fold_inputs` says of the data at hand.

    Raises:
        UserError: there is none, it was changed, or it belongs to other data or another recipe.
    """
    written = FoldsRecord.read(folder.folds_record)
    if written is None:
        raise UserError.at(folder.folds, "missing or unfinished", "run the folds stage first")
    _refuse_other_data(folder.folds, written, inputs)
    if changed := written.changed(inputs):
        was = ", ".join(f"{name} {getattr(written, name)}, now {getattr(inputs, name)}" for name in changed)
        raise UserError.at(
            folder.folds,
            f"was made with {was}",
            "run the folds stage again, or give this stage the `set` that folds had",
        )
    if not is_intact(folder.folds, written.sha256):
        raise UserError.at(
            folder.folds, "is missing or was changed after it was written", "run the folds stage again"
        )
    folds = np.loadtxt(folder.folds, delimiter=",", skiprows=1, usecols=2, dtype=np.int64, ndmin=1)
    return FoldTable(folds, fingerprint(written.sha256))


def _refuse_orphans(folder: PipelineFolder) -> None:
    trained = len([*folder.path.glob("*/fold*/recipe.json"), *folder.path.glob("*/refit/recipe.json")])
    if trained:
        raise UserError.at(
            folder.folds,
            f"is not what would be made now, and {trained} trainings rest on it",
            "put the pipeline's folds and seed back, name another pipeline, "
            f"or delete {folder.path} to start anew",
        )


def _refuse_other_data(path: Path, written: FoldsRecord, inputs: FoldInputs) -> None:
    if written.data == inputs.data:
        return
    raise UserError.at(
        path,
        f"belongs to other data: it was made from {written.rows} rows, "
        f"here are {inputs.rows} with other content",
        f"put that data back, or delete {path.parent} to start anew",
    )
