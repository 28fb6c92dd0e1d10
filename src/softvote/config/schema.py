"""What every class of the pipeline's schema shares: it knows its keys, and numbers have limits."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


Fraction = Annotated[float, Field(ge=0, le=1)]


BelowOne = Annotated[float, Field(ge=0, lt=1)]


Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Strict(BaseModel):
    """Knows its keys, refuses others, and never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def checked_name(name: str) -> str:
    """A name that can be a folder everywhere.

    Raises:
        ValueError: it cannot.
    """
    if not NAME.fullmatch(name):
        raise ValueError(f"'{name}' is no name: use letters, digits, - and _")
    return name
