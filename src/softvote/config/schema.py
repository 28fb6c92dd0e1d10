"""What every class of the pipeline's schema shares: it knows its keys, and numbers have limits."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from softvote.errors import Problem, UserError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


Fraction = Annotated[float, Field(ge=0, le=1)]


BelowOne = Annotated[float, Field(ge=0, lt=1)]


Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def _kind_of_names(value: Any) -> str:
    return "several" if isinstance(value, list) else "one"


OneOrSeveral = Annotated[
    Annotated[str, Tag("one")] | Annotated[list[str], Field(min_length=1), Tag("several")],
    Discriminator(_kind_of_names),
]
"""A name, or a list of them."""


class ConfigError(ValueError):
    """What a validator finds wrong with several keys together, for the reader of the file to place.

    Args:
        problems: the place is a dotted key; empty, it is what is being validated.
    """

    def __init__(self, *problems: Problem | str) -> None:
        self.problems = UserError(*problems).problems
        super().__init__("\n".join(map(str, self.problems)))

    @classmethod
    def at(cls, key: str, what: str, hint: str = "") -> Self:
        """The error of one problem."""
        return cls(Problem(key, what, hint))

    def under(self, key: str) -> Self:
        """The same error, as one who knows under which key its keys stand tells it."""
        return type(self)(
            *(
                replace(problem, where=".".join(filter(None, [key, problem.where])))
                for problem in self.problems
            )
        )


class Strict(BaseModel):
    """Knows its keys, refuses others, and never changes."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        populate_by_name=True,
        serialize_by_alias=True,  # a renamed key keeps its name on disk, and with it its fingerprint
    )


def check_name(name: str) -> str:
    """A name that can be a folder everywhere.

    Raises:
        ValueError: it cannot.
    """
    if not NAME.fullmatch(name):
        raise ValueError(f"'{name}' is not a name: use letters, digits, - and _")
    return name
