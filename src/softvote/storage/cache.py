"""What was found out once on this machine: each finding under a key of all that it depends on."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from softvote.storage.fingerprints import fingerprint
from softvote.storage.locks import file_lock
from softvote.storage.records import JsonRecord, key

JsonObject = dict[str, Any]
"""Anything JSON can hold."""


Compute = Callable[[], JsonObject]


Cache = Callable[[JsonObject, Compute], JsonObject]
"""(what a finding depends on, how to find it) -> the finding; whoever finds first decides for all."""


class CacheEntry(JsonRecord):
    """One finding on disk.

    Attributes:
        inputs: what it depends on.
        value: the finding.
        fingerprint: of both, by which damage is noticed.
    """

    inputs: JsonObject = key("of")
    value: JsonObject = key("found")
    fingerprint: str = key("digest")


def disk_cache(folder: Path) -> Cache:
    """Findings on disk, a file each. One process looks while others that want the same wait for it.

    A damaged file counts as none. What is returned raises a UserError where the folder cannot be written.
    """
    return functools.partial(_compute_once, folder)


def get_cached(folder: Path, inputs: JsonObject) -> JsonObject | None:
    """What `disk_cache` left for these inputs; None where there is nothing, or it is damaged."""
    entry = CacheEntry.read(_path(folder, inputs))
    if entry is None or entry.fingerprint != fingerprint([inputs, entry.value]):
        return None
    return entry.value


def _compute_once(folder: Path, inputs: JsonObject, compute: Compute) -> JsonObject:
    if (known := get_cached(folder, inputs)) is not None:
        return known
    path = _path(folder, inputs)
    with file_lock(path):
        if (known := get_cached(folder, inputs)) is None:  # found by the one we waited for, perhaps
            known = compute()
            CacheEntry(inputs=inputs, value=known, fingerprint=fingerprint([inputs, known])).write(path)
        return known


def _path(folder: Path, inputs: JsonObject) -> Path:
    return folder / f"{fingerprint(inputs)}.json"


_in_memory: dict[str, JsonObject] = {}


def memory_cache(inputs: JsonObject, compute: Compute) -> JsonObject:
    """Findings of this process alone."""
    name = fingerprint(inputs)
    if name not in _in_memory:
        _in_memory[name] = compute()
    return _in_memory[name]
