"""Which keys a pipeline file may have in a place, by the schema."""

from __future__ import annotations

import functools
from typing import Any

from softvote.config.pipeline import Pipeline
from softvote.config.settings import Key


@functools.cache
def _schema_of_keys() -> dict[str, Any]:
    """JSON Schema of a pipeline file without a word on what its keys mean, which takes seconds to find."""
    return Pipeline.model_json_schema()


def find_key(loc: tuple[str | int, ...], values: dict[str, Any]) -> tuple[Key, list[str], list[str]]:
    """The key as the file has it, the keys that would be known beside it, and those of its name below them.

    The validator puts the kind of a union into its locations (`optimizer.adam.lr`); files do not.
    """
    schema = _schema_of_keys()
    definitions = schema["$defs"]
    key: list[str | int] = []
    inside: Any = values
    known: list[str] = []
    deeper: list[str] = []
    for part in loc:
        schema = _resolve(schema, definitions, inside)
        known = list(schema.get("properties", {}))
        present = (isinstance(inside, dict) and part in inside) or (
            isinstance(inside, list) and isinstance(part, int) and part < len(inside)
        )
        if not present and part not in known and not isinstance(part, int):
            continue
        deeper = _find_deeper(schema, definitions, inside, str(part))
        key.append(part)
        schema = schema.get("properties", {}).get(part) or schema.get("additionalProperties") or {}
        inside = inside[part] if present else None
    return tuple(key), known, deeper


def _find_deeper(schema: dict[str, Any], definitions: dict[str, Any], inside: Any, name: str) -> list[str]:
    """Keys of a name one level below those of a schema, such as `files.images` for `images`."""
    values = inside if isinstance(inside, dict) else {}

    def is_known(key: str, each: Any) -> bool:
        given = values.get(key)
        kinds = [_resolve(each, definitions, given)] if isinstance(given, dict) else _kinds(each, definitions)
        return any(name in kind.get("properties", {}) for kind in kinds)

    return [f"{key}.{name}" for key, each in schema.get("properties", {}).items() if is_known(key, each)]


def _kinds(schema: dict[str, Any], definitions: dict[str, Any]) -> list[dict[str, Any]]:
    """Every kind of value with keys that a schema allows."""
    if "$ref" in schema:
        return [definitions[schema["$ref"].rsplit("/", 1)[1]]]
    return [
        each
        for kind in ("anyOf", "oneOf")
        for one in schema.get(kind, [])
        for each in _kinds(one, definitions)
    ]


def _resolve(schema: Any, definitions: dict[str, Any], inside: Any) -> dict[str, Any]:
    """A schema with its reference followed, and of several kinds the one that `inside` names."""
    if not isinstance(schema, dict):
        return {}
    if "$ref" in schema:
        return dict(definitions[schema["$ref"].rsplit("/", 1)[1]])
    mapping = schema.get("discriminator", {}).get("mapping")
    if mapping and isinstance(inside, dict):
        chosen = inside.get(schema["discriminator"]["propertyName"])
        is_known = isinstance(chosen, str) and chosen in mapping  # a list, say, is a mistake to tell of
        return dict(definitions[mapping[chosen].rsplit("/", 1)[1]]) if is_known else {}
    kinds = [*schema.get("anyOf", []), *schema.get("oneOf", [])]
    references = [kind for kind in kinds if "$ref" in kind]
    if isinstance(inside, dict) and references:
        return _resolve(references[0], definitions, inside)
    unions = [kind for kind in kinds if "discriminator" in kind]
    return _resolve(unions[0], definitions, inside) if isinstance(inside, dict) and unions else schema
