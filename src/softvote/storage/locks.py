"""Locks on files: the system frees them when a process ends, however it ends."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from softvote.errors import UserError


@contextlib.contextmanager
def try_lock(lock: Path) -> Iterator[bool]:
    """Whether this process holds `lock`; the system frees it when the process ends, however it ends.

    Raises:
        UserError: its folder cannot be written.
    """
    with _open(lock) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


@contextlib.contextmanager
def shared_lock(lock: Path) -> Iterator[None]:
    """Hold `lock` beside others who share it, so that no `try_lock` has it; wait while one does.

    Raises:
        UserError: its folder cannot be written.
    """
    with _open(lock) as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


def _open(lock: Path) -> TextIO:
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        return lock.open("w")
    except OSError as error:
        raise UserError.at(lock, f"cannot be written ({error.strerror})") from None


def lock_of(path: Path) -> Path:
    """The file that `file_lock` holds: not the path itself, which each writer replaces."""
    return path.with_name(f".{path.stem}.lock")


def stem_of_lock(lock: Path) -> str:
    """The stem of the path that a lock is of."""
    return lock.name.removeprefix(".").removesuffix(".lock")


@contextlib.contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Wait until no other process writes; the system frees the lock when a process ends, however it ends.

    Raises:
        UserError: the file's folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = lock_of(path).open("w")
    except OSError as error:
        raise UserError.at(
            path, f"cannot be written ({error.strerror})", "make it writable or pass `root`"
        ) from None
    with file as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
