"""What readings of competitions left in a project's cache, and which of it is of use no more."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable
from pathlib import Path

from softvote.config.competition import Competition
from softvote.data.checksums import Stamps, read_stamps
from softvote.data.dataset_record import cache_key
from softvote.storage.locks import lock_of, stem_of_lock, try_lock
from softvote.storage.paths import Workspace


def stamps_file(cache: Path, competition: str) -> Path:
    """Where it says what a competition's files were like that a folder of arrays was made from."""
    return cache / f"sources-{competition}.json"


def read_looks(workspace: Workspace, competition: str) -> dict[Path, Stamps]:
    """What each reading of a competition found its files to be like, the last one last, by where it lies."""
    looks = workspace.cache.glob(f"[!.]*/{stamps_file(workspace.cache, competition).name}")
    return {path: read_stamps(path) for path in sorted(looks, key=lambda path: path.stat().st_mtime_ns)}


def unfinished_folder(cache: Path, competition: str) -> Path:
    """Where a competition's images are decoded to until all are, and the folder takes its place."""
    return cache.with_name(f".{competition}-{cache.name}.partial")


def remove_unfinished(cache: Path, competition: str) -> None:
    """Remove what readings of a competition's former files left that were killed: nobody goes on with it."""
    any_key = cache.with_name("?" * len(cache.name))
    for other in cache.parent.glob(unfinished_folder(any_key, competition).name):
        former = cache.with_name(other.stem[-len(cache.name) :])
        if former != cache:
            with try_lock(lock_of(former)) as is_free:
                if is_free:
                    shutil.rmtree(other, ignore_errors=True)


def find_outdated(workspace: Workspace) -> list[Path]:
    """Folders of arrays whose source files have changed since: a later look at them found other content.

    No run comes upon such a folder again unless the former files come back, and then it is made again.
    """
    found = [folder for folder in _parsed(workspace) if _looks(folder)]
    return [folder for folder in found if all(_is_outdated(look, found) for look in _looks(folder))]


def find_unread(workspace: Workspace, competitions: Iterable[Competition]) -> list[Path]:
    """Folders of arrays that no reading of these competitions would take: of another image size, say."""
    known = list(competitions)

    def is_read(folder: Path) -> bool:
        return any(
            cache_key(competition, read_stamps(look)) == folder.name
            for look in _looks(folder)
            for competition in known
            if look == stamps_file(folder, competition.name)
        )

    return [folder for folder in _parsed(workspace) if _looks(folder) and not is_read(folder)]


def find_busy(workspace: Workspace) -> list[Path]:
    """What another process decodes images to now, and its lock."""
    busy = list[Path]()
    for lock in workspace.cache.glob(lock_of(workspace.cache / "*").name):
        with try_lock(lock) as is_free:
            if not is_free:
                cache = workspace.cache / stem_of_lock(lock)
                busy += [lock, *workspace.cache.glob(unfinished_folder(cache, "*").name)]
    return busy


def _parsed(workspace: Workspace) -> list[Path]:
    kept = (workspace.autotune, workspace.throughputs)
    folders = sorted(workspace.cache.glob("[!.]*")) if workspace.cache.is_dir() else []
    return [path for path in folders if path.is_dir() and path not in kept]


def _looks(folder: Path) -> list[Path]:
    """The looks at source files that led here, one for each competition that has these files."""
    return sorted(folder.glob(stamps_file(folder, "*").name))


def _is_outdated(look: Path, folders: Iterable[Path]) -> bool:
    stamps, when = read_stamps(look), look.stat().st_mtime_ns
    for folder in folders:
        other = folder / look.name
        with contextlib.suppress(OSError):
            if other != look and other.stat().st_mtime_ns > when and _differ(stamps, read_stamps(other)):
                return True
    return False


def _differ(before: Stamps, after: Stamps) -> bool:
    """Whether a file of both has other content."""
    return any(before[name].sha256 != after[name].sha256 for name in before.keys() & after.keys())
