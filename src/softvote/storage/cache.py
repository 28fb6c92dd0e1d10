"""What was found out once on this machine: each finding under a key of all that it depends on."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from softvote.storage.files import read_json, write_json
from softvote.storage.fingerprints import key_of
from softvote.storage.locks import alone

Facts = dict[str, Any]
"""Anything JSON can hold."""


Finder = Callable[[], Facts]


Findings = Callable[[Facts, Finder], Facts]
"""(what a finding depends on, how to find it) -> the finding; whoever finds first decides for all."""


def kept_in(folder: Path) -> Findings:
    """Findings on disk, a file each. One process looks while others that want the same wait for it.

    A damaged file counts as none. What is returned raises a UserError where the folder cannot be written.
    """
    return functools.partial(_find_once, folder)


def look_up(folder: Path, facts: Facts) -> Facts | None:
    """What `kept_in` left for these facts; None where there is nothing, or it is damaged."""
    kept = read_json(_path(folder, facts))
    found: Facts | None = kept.get("found")
    return found if kept.get("digest") == key_of([facts, found]) else None


def _find_once(folder: Path, facts: Facts, find: Finder) -> Facts:
    if (known := look_up(folder, facts)) is not None:
        return known
    path = _path(folder, facts)
    with alone(path):
        if (known := look_up(folder, facts)) is None:  # found by the one we waited for, perhaps
            known = find()
            write_json(path, {"of": facts, "found": known, "digest": key_of([facts, known])})
        return known


def _path(folder: Path, facts: Facts) -> Path:
    return folder / f"{key_of(facts)}.json"


_remembered: dict[str, Facts] = {}


def remembered(facts: Facts, find: Finder) -> Facts:
    """Findings of this process alone."""
    key = key_of(facts)
    if key not in _remembered:
        _remembered[key] = find()
    return _remembered[key]
