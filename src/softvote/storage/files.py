"""The one way files are written, whole or not at all, and read."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from softvote.errors import UserError


def read_bytes(path: Path) -> bytes:
    """A file's content.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError.at(
            path, f"cannot be read ({error.strerror or error})", "fix it or its permissions"
        ) from None


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a temporary name to write to, renamed to `path` when the block ends well, else removed.

    The temporary name keeps the suffix, because numpy and matplotlib go by it. Folders above are made.

    Raises:
        UserError: it cannot be written.
    """
    temporary = _temporary(path, os.getpid())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise UserError.at(path, f"cannot be written ({error.strerror or error})") from None
    finally:
        with contextlib.suppress(OSError):  # a parent that is not a folder has nothing to clean
            temporary.unlink(missing_ok=True)


def _temporary(path: Path, process: int | str) -> Path:
    """The name under which a process of this machine writes a file or folder."""
    return path.with_name(f".{path.stem}.{os.uname().nodename}.{process}.tmp{path.suffix}")


def _remove_abandoned(path: Path) -> None:
    """Remove what processes of this machine that were killed left half-written of a file or folder."""
    head, tail = _temporary(path, "|").name.split("|")
    for left in path.parent.glob(f"{glob.escape(head)}*{glob.escape(tail)}"):
        process = left.name.removeprefix(head).removesuffix(tail)
        if process.isdecimal() and not _is_running(int(process)):
            shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text whole or not at all, with the line ends it has.

    Raises:
        UserError: it cannot be written.
    """
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON for people: two spaces of indent, keys in the order given.

    Raises:
        UserError: it cannot be written.
    """
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read the keys and values of a JSON file; none where it is missing, damaged or holds no object.

    Raises:
        UserError: it is there and cannot be read.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    except OSError as error:
        raise UserError.at(path, f"cannot be read ({error.strerror})") from None
    return content if isinstance(content, dict) else {}


def remove_if_exists(path: Path) -> None:
    """Remove a file that marks work as done, if it is there, before the work is done again.

    Raises:
        UserError: it is there and cannot be removed.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise UserError.at(path, f"cannot be removed ({error.strerror})") from None


def remove_if_empty(path: Path) -> None:
    """Remove a file that holds nothing, if it is there.

    Raises:
        UserError: it is empty and cannot be removed.
    """
    with contextlib.suppress(FileNotFoundError):
        if not path.stat().st_size:
            remove_if_exists(path)


def remove_temp_files(folder: Path) -> None:
    """Remove all that is half-written in a folder that no other process writes to.

    Raises:
        UserError: something cannot be removed.
    """
    for temporary in folder.glob(".*.tmp*"):
        remove_if_exists(temporary)


def remove_folder(path: Path) -> None:
    """Remove a folder and all in it, if it is there.

    Raises:
        UserError: it is there and cannot be removed.
    """
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise UserError.at(path, f"cannot be removed ({error.strerror or error})") from None


@contextlib.contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Give a temporary folder, renamed to `path` (which must not exist) where the block ends well.

    Raises:
        UserError: it cannot be written.
    """
    temporary = _temporary(path, os.getpid())
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        _remove_abandoned(path)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise UserError.at(path, f"cannot be written ({error.strerror or error})") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
