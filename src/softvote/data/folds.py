"""The fold table: which fold each training row is in, and what that was made from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from softvote.config.pipeline import FoldsConfig
from softvote.data.splitting import column_of
from softvote.errors import UserError
from softvote.storage.files import write_text
from softvote.storage.fingerprints import fingerprint, sha256_of
from softvote.storage.paths import PipelineFolder
from softvote.storage.records import JsonRecord
from softvote.storage.snapshot import is_intact
from softvote.words import counted


class FoldInputs(JsonRecord):
    """What a fold table is made from; two tables with equal inputs are equal.

    Attributes:
        data: fingerprint of the training rows.
        rows: how many there are.
        count: of the folds.
        near_identical: how different images of one group may be, as `FoldsConfig` has it.
        seed: of the shuffle.
        group: the column whose equal values share a fold; empty without one.
        column: the column that gives the folds; empty where they are made.
        column_sha256: of the values of either.
        source: fingerprint of the files and labels of the rows, as `Dataset.train_source` has it; empty where
            it is not known.
    """

    data: str
    rows: int
    count: int
    near_identical: float
    seed: int
    group: str = ""
    column: str = ""
    column_sha256: str = ""
    source: str = ""


class FoldsRecord(FoldInputs):
    """`folds.json`: what the table beside it was made from; written after it, so it marks it whole."""

    sha256: str

    def is_of(self, inputs: FoldInputs) -> bool:
        """Whether it is of the same rows: equal ones, or those of the same files read at another size."""
        return self.data == inputs.data or (self.source != "" and self.source == inputs.source)

    def changed(self, inputs: FoldInputs) -> list[str]:
        """Which of the inputs are others now, beside the rows."""
        names = [name for name in FoldInputs.model_fields if name not in ("data", "source")]
        return [name for name in names if getattr(self, name) != getattr(inputs, name)]


@dataclass(frozen=True)
class FoldTable:
    """Which fold each training row belongs to.

    Attributes:
        folds: int64 (N,), 0..count-1.
        fingerprint: of the table.
    """

    folds: NDArray[np.int64]
    fingerprint: str


def fold_inputs(
    labels: NDArray[np.int64],
    train_fingerprint: str,
    spec: FoldsConfig,
    seed: int,
    columns: Mapping[str, NDArray[np.str_]] | None = None,
    source: str = "",
) -> FoldInputs:
    """What the fold table of these labels is made from.

    Args:
        columns: of the training table, (N,) each; needed where the folds are made from one.
        source: of the rows, as `FoldInputs` has it.

    Raises:
        UserError: there is no such column.
    """
    inputs = FoldInputs(
        data=train_fingerprint,
        rows=len(labels),
        count=spec.count,
        near_identical=spec.near_identical,
        seed=seed,
        source=source,
    )
    key = "group" if spec.group else "column"
    if not (name := spec.group or spec.column):
        return inputs
    values = "\n".join(column_of(columns or {}, name, key).tolist())
    return FoldInputs(
        **{**inputs.to_json(), key: name, "column_sha256": hashlib.sha256(values.encode()).hexdigest()}
    )


def write_folds(
    folder: PipelineFolder, labels: NDArray[np.int64], folds: NDArray[np.int64], inputs: FoldInputs
) -> None:
    """Write `folds.csv` and then, beside it, what it was made from.

    Args:
        labels: int64 (N,), indices of classes; of tags (N, K) of 0 and 1, and of several targets (N, T), an
            index for each, written with blanks between them.
        folds: int64 (N,).

    Raises:
        UserError: a file cannot be written.
    """
    cells = [" ".join(map(str, row)) for row in labels.reshape(len(labels), -1).tolist()]
    lines = [f"{row},{label},{fold}" for row, (label, fold) in enumerate(zip(cells, folds, strict=True))]
    write_text(folder.folds, "\n".join(["row,label,fold", *lines]) + "\n")
    FoldsRecord(**inputs.to_json(), sha256=sha256_of(folder.folds)).write(folder.folds_record)


def up_to_date(folder: PipelineFolder, inputs: FoldInputs) -> bool:
    """Whether the finished table on disk is the one that would be made now.

    Raises:
        UserError: it belongs to other data, or to another recipe while trainings depend on it.
    """
    written = FoldsRecord.read(folder.folds_record)
    if written is None:
        return False
    _refuse_other_data(folder.folds, written, inputs)
    if not written.changed(inputs):
        if is_intact(folder.folds, written.sha256):
            return True
        if written.data == inputs.data:
            return False  # a damaged table is made again, byte for byte
    _refuse_orphans(folder)
    return False


def remember_source(folder: PipelineFolder, inputs: FoldInputs) -> None:
    """Note the files of the rows beside the table of these rows, where it has none or others.

    Tables that older versions made have none. The table itself and its key stay.
    """
    written = FoldsRecord.read(folder.folds_record)
    if written and written.data == inputs.data and written.source != inputs.source:
        written.model_copy(update={"source": inputs.source}).write(folder.folds_record)


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
        was = ", ".join(
            f"{name} {_format_input(getattr(written, name))}, now {_format_input(getattr(inputs, name))}"
            for name in changed
        )
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
    return FoldTable(folds, fingerprint_of_table(written))


def fingerprint_of_table(record: FoldsRecord) -> str:
    """The `FoldTable.fingerprint` of the table that a record stands beside."""
    return fingerprint(record.sha256)


def _format_input(value: str | float) -> str:
    """One of a table's inputs, for people."""
    return (value[:12] or "none") if isinstance(value, str) else str(value)


def _refuse_orphans(folder: PipelineFolder) -> None:
    trained = len([*folder.path.glob("*/fold*/recipe.json"), *folder.path.glob("*/refit/recipe.json")])
    if trained:
        raise UserError.at(
            folder.folds,
            "is not what would be made now, and "
            f"{counted(trained, 'training depends', 'trainings depend')} on it",
            "put the pipeline's folds and seed back, name another pipeline, "
            f"or delete {folder.path} to start over",
        )


def _refuse_other_data(path: Path, written: FoldsRecord, inputs: FoldInputs) -> None:
    if written.is_of(inputs):
        return
    back = "put that data back"
    if not written.source and written.rows == inputs.rows:
        back += " (if only the size of images changed: that size, run the folds stage, then change it again)"
    raise UserError.at(
        path,
        f"belongs to other data: it was made from {counted(written.rows, 'row')}, "
        f"here are {inputs.rows} with other content",
        f"{back}, or delete {path.parent} to start over",
    )
