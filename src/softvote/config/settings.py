"""Values that a command lays over a pipeline file: `members.cnn.epochs=2`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import yaml

from softvote.config.recipe import RENAMED
from softvote.errors import UserError, one_of

Key = tuple[str | int, ...]


Places = dict[Key, str]
"""Where each key stands, for messages."""


_PART = "|".join(['"[^"]*"', "'[^']*'", "[^.\"'=][^.=]*"])


_SETTING = re.compile(rf"\s*((?:{_PART})(?:\.(?:{_PART}))*)\s*=(.*)", re.DOTALL)


def parse_setting(setting: str) -> tuple[list[str], Any]:
    """Split `KEY=VALUE` into the parts of the key, and the value as YAML reads it.

    A part that holds a dot or an equals sign stands in quotes: `competition.files.rename."1.0"=cat`.

    Raises:
        UserError: it is not of this form, or the value is not YAML.
    """
    found = _SETTING.fullmatch(setting)
    keys = split_key(found[1]) if found else []
    if not found or not all(keys):
        hint = "a part of the key that holds a dot stands in quotes"
        raise UserError.at(f"`set` {setting}", "write KEY=VALUE, such as members.cnn.epochs=2", hint)
    try:
        return keys, yaml.safe_load(found[2])
    except (yaml.YAMLError, ValueError):
        raise UserError.at(f"`set` {setting}", "the value is not YAML") from None


def split_key(dotted: str) -> list[str]:
    """The parts of a dotted key, without their quotes."""
    parts = [part.strip() for part in re.findall(_PART, dotted)]
    return [part[1:-1] if part[:1] in ("'", '"') else part for part in parts]


def apply_setting(values: dict[str, Any], places: Places, setting: str) -> None:
    """Lay `KEY=VALUE` over what pipeline files say; null takes the key out.

    Raises:
        UserError: it cannot be read, or names a member or a place that is not there.
    """
    keys, value = parse_setting(setting)
    keys[-1] = name_today(tuple(keys))
    if keys[0] == "extends":
        raise UserError.at(f"`set` {setting}", "put it in the pipeline file")
    members = values.get("members")
    known = list(members) if isinstance(members, dict) else []
    if keys[0] == "members" and keys[1:2] and keys[1] not in known:
        raise UserError.at(f"`set` {setting}", f"no member '{keys[1]}'", one_of(known, keys[1]))
    inside = values
    for depth, key in enumerate(keys, start=1):
        _refuse_dots(inside, keys, depth - 1, setting)
        places[tuple(keys[:depth])] = f"`set` {setting}"
        if depth == len(keys):
            break
        inside = inside.setdefault(key, {})
        if not isinstance(inside, dict):
            raise UserError.at(f"`set` {setting}", f"{'.'.join(keys[:depth])} holds no keys")
    if value is None:
        inside.pop(keys[-1], None)
    else:
        inside[keys[-1]] = value


def _refuse_dots(inside: dict[str, Any], keys: Sequence[str], start: int, setting: str) -> None:
    """Refuse parts that together are one key of the file, which holds dots."""
    if keys[start] in inside:
        return
    for end in range(start + 2, len(keys) + 1):
        joined = ".".join(keys[start:end])
        if joined in inside:
            quoted = ".".join([*keys[:start], f'"{joined}"', *keys[end:]])
            raise UserError.at(
                f"`set` {setting}", f"'{joined}' is one key, which holds a dot", f"write {quoted}"
            )


def name_today(key: Key) -> str:
    """The last part of a key; of one that was renamed, as it is called today."""
    depth = {"defaults": 1, "members": 2}.get(str(key[0]), len(key))
    dotted = ".".join(map(str, key[depth:]))
    today = RENAMED.get(dotted)
    # What the file itself calls a label or a column may hold dots, as 1.0, and stays as it is.
    return str(key[-1]) if today is None else today.rsplit(".", 1)[-1]
