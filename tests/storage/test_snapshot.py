"""storage.snapshot: files are there as they were, or they are not."""

from __future__ import annotations

import hashlib
from pathlib import Path

from softvote.storage.snapshot import Snapshot, is_intact


def test_files_are_intact_where_each_has_its_checksum(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for path in (one, other):
        path.write_bytes(path.name.encode())
    ones, others = (hashlib.sha256(path.read_bytes()).hexdigest() for path in (one, other))
    assert Snapshot().are_intact([one, other], [ones, others])
    assert not Snapshot().are_intact([one, other], [others, ones])
    assert not Snapshot().are_intact([one, other], [ones])  # as a record of an older version has it
    assert not is_intact(tmp_path / "gone", ones)


def test_a_snapshot_keeps_what_it_saw(tmp_path: Path) -> None:
    path, seen = tmp_path / "file", Snapshot()
    before = seen.sha256(path)
    path.write_bytes(b"written meanwhile")
    assert before is seen.sha256(path) is None and Snapshot().sha256(path)
