"""What files hold, without reading them at every start.

A file whose name, size and times are those of the last look holds what it held then. Where any of them
changed, its content decides: the same content under another time is the same file. A file that was written
just before it was looked at could change once more within one tick of the clock, so it is looked at again.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from pathlib import Path

from softvote.errors import UserError
from softvote.storage.files import write_text
from softvote.storage.fingerprints import sha256_of

_TICK = 2_000_000_000  # nanoseconds, as coarse as the clock of any usual file system


@dataclass(frozen=True)
class FileStamp:
    """A file when it was looked at last.

    Attributes:
        size: bytes.
        modified: when its content changed, in nanoseconds; 0 where that is too near to tell.
        changed: when anything of it changed, also by what sets `modified` back.
        sha256: of its content.
    """

    size: int
    modified: int
    changed: int
    sha256: str


Stamps = dict[str, FileStamp]
"""By the path within the competition's folder."""


def look_at_files(paths: Iterable[Path], folder: Path, known: Stamps) -> Stamps:
    """What each of the files is like; those that are known and seem unchanged are not read.

    Raises:
        UserError: one cannot be read.
    """

    def look(path: Path) -> FileStamp:
        status, now = path.stat(), time.time_ns()
        times = (status.st_mtime_ns, status.st_ctime_ns)
        before = known.get(path.relative_to(folder).as_posix())
        if before and (before.size, before.modified, before.changed) == (status.st_size, *times):
            return before
        settled = max(times) + _TICK < now
        return FileStamp(status.st_size, times[0] if settled else 0, times[1], sha256_of(path))

    found = list(paths)
    try:
        with ThreadPoolExecutor() as pool:  # which reads and sums without Python
            stamps = list(pool.map(look, found))
    except OSError as error:
        raise UserError.at(
            error.filename, f"cannot be read ({error.strerror})", "fix it or its permissions"
        ) from None
    return {path.relative_to(folder).as_posix(): stamp for path, stamp in zip(found, stamps, strict=True)}


def read_stamps(path: Path) -> Stamps:
    """What `write_stamps` wrote; nothing where the file is missing or damaged."""
    with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
        content = json.loads(path.read_text(encoding="utf-8"))
        return {name: FileStamp(*stamp) for name, stamp in content.items()}
    return {}


def write_stamps(path: Path, stamps: Stamps) -> None:
    """Write a line for each file, whole or not at all."""
    lines = [f"{json.dumps(name)}: {json.dumps(astuple(stamp))}" for name, stamp in stamps.items()]
    write_text(path, "{\n" + ",\n".join(lines) + "\n}\n")
