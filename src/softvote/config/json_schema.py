"""The JSON Schema of pipeline files; its descriptions are the docstrings of the classes' attributes."""

from __future__ import annotations

import ast
import functools
import inspect
from itertools import pairwise
from textwrap import dedent
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from softvote.config.pipeline import Pipeline
from softvote.config.recipe import RENAMED


class _WithDocstrings(GenerateJsonSchema):
    """Reads the docstrings here and not, as pydantic's `use_attribute_docstrings`, on every import: that
    parses the source of eighty classes and took a quarter of the time of a command that has nothing to do."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        result = super().model_schema(schema)
        texts = _attribute_docstrings(schema["cls"])
        for name, field in schema["cls"].model_fields.items():
            if name in texts:
                result["properties"][field.alias or name].setdefault("description", texts[name])
        return result


def json_schema() -> dict[str, Any]:
    """JSON Schema of a pipeline file, for editors.

    Nothing is required there, because a file may take it from the one it extends, not even what tells one
    kind of several from the others; and null takes out what that file has under a name, such as a member.
    """
    schema = Pipeline.model_json_schema(schema_generator=_WithDocstrings)
    for part in [schema, *schema["$defs"].values()]:
        part.pop("required", None)
        for described in [part, *part.get("properties", {}).values()]:
            _allow_several_kinds(described)
            named = described.get("additionalProperties")
            if isinstance(named, dict) and "$ref" in named:
                described["additionalProperties"] = {"anyOf": [named, {"type": "null"}]}
            if "description" in described:
                described["description"] = _unwrap(described["description"])
            if isinstance(default := described.get("default"), dict):
                described["default"] = {RENAMED.get(key, key): value for key, value in default.items()}
    return schema


def _allow_several_kinds(schema: dict[str, Any]) -> None:
    """Let what fits several kinds be any of them: without its name, Adam is like SGD."""
    if "oneOf" in schema:
        schema["anyOf"] = schema.pop("oneOf")
    for kind in schema.get("anyOf", []):
        _allow_several_kinds(kind)


def _unwrap(text: str) -> str:
    """A docstring without the line breaks of the source; paragraphs stay."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def _attribute_docstrings(kind: type[BaseModel]) -> dict[str, str]:
    """The text under each annotated attribute of a class and of those it inherits from."""
    texts: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        if issubclass(each, BaseModel) and each is not BaseModel:
            texts |= _own_docstrings(each)
    return texts


@functools.cache  # most are inherited from again and again
def _own_docstrings(kind: type[BaseModel]) -> dict[str, str]:
    texts: dict[str, str] = {}
    [body] = ast.parse(dedent(inspect.getsource(kind))).body
    assert isinstance(body, ast.ClassDef)
    for field, after in pairwise(body.body):
        match field, after:
            case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(text))):
                texts[name] = inspect.cleandoc(text)
    return texts
