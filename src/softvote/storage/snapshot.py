"""Files as one phase of a program finds them: each is read, and hashed, at most once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar, cast

from softvote.storage.fingerprints import sha256_of
from softvote.storage.records import JsonRecord

Record = TypeVar("Record", bound=JsonRecord)


class Snapshot:
    """What files held when they were first asked for.

    A phase that decides what is to be done, such as planning, asks one snapshot. Whoever acts on a file,
    or comes after somebody who did, takes a new one.
    """

    def __init__(self) -> None:
        self._records = dict[Path, JsonRecord | None]()
        self._checksums = dict[Path, str | None]()

    def read(self, kind: type[Record], path: Path) -> Record | None:
        """Read a record; None where it is missing, damaged or incomplete."""
        if path not in self._records:
            self._records[path] = kind.read(path)
        return cast("Record | None", self._records[path])

    def sha256(self, path: Path) -> str | None:
        """Hash a file; None where there is none."""
        if path not in self._checksums:
            self._checksums[path] = sha256_of(path) if path.is_file() else None
        return self._checksums[path]

    def are_intact(self, paths: Sequence[Path], checksums: Sequence[str]) -> bool:
        """Whether files are there as they were when these checksums, one per file, were taken of them."""
        return len(paths) == len(checksums) and all(
            self.sha256(path) == checksum for path, checksum in zip(paths, checksums, strict=True)
        )


def is_intact(path: Path, checksum: str) -> bool:
    """Whether a file is there as it was when this checksum was taken of it."""
    return Snapshot().are_intact([path], [checksum])
