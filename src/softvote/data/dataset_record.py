"""What the cache says of a data set beside its arrays: under which key it lies, and whether it is whole."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from softvote.config.competition import Competition
from softvote.data.checksums import Stamps
from softvote.storage.fingerprints import fingerprint
from softvote.storage.records import JsonRecord

CACHE_VERSION = 3
"""Bumped whenever the readers give other arrays for the same files."""


class DatasetRecord(JsonRecord):
    """What the cache keeps of a data set beside its arrays, in a JSON file."""

    test_ids: list[str]
    sample_header: tuple[str, ...]
    train_fingerprint: str
    test_fingerprint: str
    line_ids: list[str] | None = None
    group_names: list[str] = []
    notes: list[str] = []
    arrays: dict[str, tuple[int, int]] = {}
    """Bytes of each array's file, and when it was written, in nanoseconds."""
    lazy: bool = False
    """Whether images stay in their files, and labels with them."""
    digest: str = ""
    """Of all the others, by which damage is noticed."""

    @classmethod
    def path(cls, cache: Path) -> Path:
        """Where it lies in the cache's folder."""
        return cache / "facts.json"


def cache_key(competition: Competition, stamps: Stamps) -> str:
    """The name of the folder that keeps a competition's arrays: a fingerprint of all they depend on."""
    config = competition.model_dump(
        include={"files", "image", "labels", "hidden_digits", "addend", "sample_submission"}
    ) | competition.model_dump(include={"tags", "targets", "ordered", "form"}, exclude_defaults=True)
    return fingerprint([CACHE_VERSION, config, {name: stamp.sha256 for name, stamp in stamps.items()}])


_OF_THE_SIZE = {"size", "images"}
"""Keys of `files` that say nothing about which rows there are, only how their pixels are read."""


def source_key(
    competition: Competition, stamps: Stamps, labels: NDArray[np.int64], addends: NDArray[np.int64] | None
) -> str:
    """A fingerprint of which rows there are: their files, in which order, and what they are labelled.

    It is the same for every size and number of channels that images are brought to.

    Args:
        stamps: of the files.
        labels: of the training rows, int64 (N,), (N, K) or (N, T).
        addends: of the training rows, int64 (N,); None where there are none.
    """
    files = competition.files.model_dump(mode="json", exclude_defaults=True, exclude=_OF_THE_SIZE)
    known = [hashlib.sha256(each.tobytes()).hexdigest() for each in (labels, addends) if each is not None]
    return fingerprint([CACHE_VERSION, files, known, {name: stamp.sha256 for name, stamp in stamps.items()}])


def read_record(cache: Path) -> DatasetRecord | None:
    """Read the record of a data set; None where there is none, or it is not what was written."""
    record = DatasetRecord.read(DatasetRecord.path(cache))
    return record if record is not None and record.digest == _record_digest(record) else None


def _record_digest(record: DatasetRecord) -> str:
    return fingerprint(record.to_json() | {"digest": ""})


def stamp_arrays(cache: Path) -> dict[str, tuple[int, int]]:
    """Bytes of each array's file, and when it was written, in nanoseconds."""
    found = {path.name: path.stat() for path in sorted(cache.glob("*.npy"))}
    return {name: (status.st_size, status.st_mtime_ns) for name, status in found.items()}


def write_record(folder: Path, record: DatasetRecord) -> None:
    """Write the record beside the arrays, with its digest."""
    record.model_copy(update={"digest": _record_digest(record)}).write(DatasetRecord.path(folder))
