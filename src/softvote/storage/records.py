"""Typed JSON files: each kind is one class, read and written in one way."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from softvote.storage.files import read_json, write_json


class JsonRecord(BaseModel):
    """What one JSON file of the project holds.

    A field has the name of a key in the file, or another by `key`. A key that the file has and the class
    does not know is kept, and a field that was never set is not written.
    """

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Read a file; None where it is missing, damaged or incomplete.

        Raises:
            UserError: it is there and cannot be read.
        """
        try:
            return cls.model_validate(read_json(path))
        except ValidationError:
            return None

    def write(self, path: Path) -> None:
        """Write the file whole or not at all.

        Raises:
            UserError: it cannot be written.
        """
        write_json(path, self.to_json())

    def to_json(self) -> dict[str, Any]:
        """The keys and values of the file, in the order of the fields."""
        return self.model_dump(by_alias=True, exclude_unset=True)


def key(name: str, default: Any = ...) -> Any:
    """Declare a field whose key in the file is another than its name.

    Args:
        name: the key.
        default: where the file has none; if omitted, a file without it is incomplete.
    """
    return Field(default, alias=name)
