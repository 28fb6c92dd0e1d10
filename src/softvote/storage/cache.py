"""What was found out once on this machine: each finding under a key of all that it depends on."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from softvote.storage.files import read_json, write_json
from softvote.storage.fingerprints import fingerprint
from softvote.storage.locks import file_lock

JsonObject = dict[str, Any]
"""Anything JSON can hold."""


Compute = Callable[[], JsonObject]


Cache = Callable[[JsonObject, Compute], JsonObject]
"""(what a finding depends on, how to find it) -> the finding; whoever finds first decides for all."""


def disk_cache(folder: Path) -> Cache:
    """Findings on disk, a file each. One process looks while others that want the same wait for it.

    A damaged file counts as none. What is returned raises a UserError where the folder cannot be written.
    """
    return functools.partial(_compute_once, folder)


def get_cached(folder: Path, facts: JsonObject) -> JsonObject | None:
    """What `disk_cache` left for these facts; None where there is nothing, or it is damaged."""
    kept = read_json(_path(folder, facts))
    found: JsonObject | None = kept.get("found")
    return found if kept.get("digest") == fingerprint([facts, found]) else None


def _compute_once(folder: Path, facts: JsonObject, find: Compute) -> JsonObject:
    if (known := get_cached(folder, facts)) is not None:
        return known
    path = _path(folder, facts)
    with file_lock(path):
        if (known := get_cached(folder, facts)) is None:  # found by the one we waited for, perhaps
            known = find()
            write_json(path, {"of": facts, "found": known, "digest": fingerprint([facts, known])})
        return known


def _path(folder: Path, facts: JsonObject) -> Path:
    return folder / f"{fingerprint(facts)}.json"


_in_memory: dict[str, JsonObject] = {}


def memory_cache(facts: JsonObject, find: Compute) -> JsonObject:
    """Findings of this process alone."""
    key = fingerprint(facts)
    if key not in _in_memory:
        _in_memory[key] = find()
    return _in_memory[key]
