"""Functions over arrays as machine code, compiled by Numba when they are first called, and kept."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import FunctionCache
from numba.core.registry import cpu_target
from numba.core.serialize import dumps

from softvote.errors import UserError
from softvote.storage.files import atomic_write

Compiled = Callable[..., None]


_OPTIONS: dict[str, Any] = {"nogil": True, "fastmath": {"contract"}, "error_model": "numpy"}


cpu_target.target_context.refresh()  # 0.2 s, in the process that others are forked from instead of in each


_SUFFIX = ".nbc"

_KEPT: dict[Path, set[str]] = {}
"""Folders of machine code, and the stamps of sources and Numba as they are now."""


def machine_code() -> tuple[list[Path], list[Path]]:
    """Files of machine code that no function of a module imported by now can use any more, and the others."""
    old, current = list[Path](), list[Path]()
    for folder, stamps in _KEPT.items():
        for path in sorted(folder.glob(f"*{_SUFFIX}")):
            is_current = any(f".{stamp}." in path.name for stamp in stamps)
            (current if is_current else old).append(path)
    return old, current


def compile_function(function: Callable[..., Any]) -> Compiled:
    """The function as machine code, kept beside its source or, failing that, in the user's folder of caches.

    Errors of array indices are not found. A product and a sum may be rounded once.
    """
    made: Compiled = numba.njit(**_OPTIONS)(function)
    with suppress(RuntimeError):  # neither can be written: each process compiles for itself
        made._cache = _Cache(function)  # type: ignore[attr-defined]
    return made


class _Files:
    """Machine code, one file for each function, types, processor, source and version of Numba.

    Numba's own have an index, and two processes that write at once can leave it with the wrong entries.
    Neither a full disk nor a damaged file stops a training: the function is compiled again.
    """

    def __init__(self, folder: str, name: str, stamp: object) -> None:
        self.folder, self.name = Path(folder), name
        self.stamp = hashlib.sha256(repr((numba.__version__, stamp)).encode()).hexdigest()[:8]
        _KEPT.setdefault(self.folder, set()).add(self.stamp)

    def _path(self, key: object) -> Path:
        digest = hashlib.sha256(repr(key).encode()).hexdigest()
        return self.folder / f"{self.name}.{self.stamp}.{digest[:32]}{_SUFFIX}"

    def load(self, key: object) -> Any:
        """What was compiled for a key, or None."""
        with suppress(OSError):
            digest, code = (kept := self._path(key).read_bytes())[:32], kept[32:]
            if hashlib.sha256(code).digest() == digest:
                return pickle.loads(code)
        return None

    def save(self, key: object, data: Any) -> None:
        """Keep what was compiled for a key, where that can be."""
        code = dumps(data)
        with suppress(UserError), atomic_write(self._path(key)) as temporary:
            temporary.write_bytes(hashlib.sha256(code).digest() + code)


class _Cache(FunctionCache):  # type: ignore[misc]
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        stamp = self._impl.locator.get_source_stamp(), _OPTIONS
        self._cache_file = _Files(self._cache_path, self._impl.filename_base, stamp)
