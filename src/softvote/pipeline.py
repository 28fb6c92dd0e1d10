"""The schema of a pipeline file: competition, folds, members and vote.

`softvote.pipeline_file` reads such a file; `softvote schema` prints these classes as JSON Schema.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from softvote.competition import Competition
from softvote.errors import one_of
from softvote.recipe import Member, Recipe
from softvote.schema import NonNegative, Strict, checked_name


class Folds(Strict):
    """Stratified k-fold."""

    count: Annotated[int, Field(ge=2)] = 5
    train: Annotated[int, Field(ge=1)] | None = None
    """Only the first so many folds are trained and scored; left out, all are."""
    near_identical: NonNegative = 4.0
    """Images whose pixels differ by at most this root mean square (of 0..255) share a fold."""

    @property
    def trained(self) -> list[int]:
        return list(range(min(self.train or self.count, self.count)))


class Ensemble(Strict):
    """Who votes, and how."""

    name: str = "vote"
    members: Annotated[list[str], Field(min_length=1)] | None = None
    """Left out, every member votes."""
    rule: Literal["auto", "mean", "mean_logits", "log_loss", "greedy"] = "auto"
    """auto keeps the mean unless another rule is better by more than two standard errors."""

    @field_validator("name")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        return checked_name(name)

    @field_validator("members")
    @classmethod
    def _once_each(cls, members: list[str] | None) -> list[str] | None:
        if members and len(set(members)) < len(members):
            raise ValueError("a member is named twice")
        return members


class Pipeline(Strict):
    """A pipeline file."""

    extends: str | None = None
    """Another pipeline file, by its path from this one's folder without .yaml; null for a key drops it."""
    competition: Competition
    seed: Annotated[int, Field(ge=0)] = 0
    folds: Folds = Folds()
    defaults: Recipe = Recipe()
    """What every member starts from."""
    members: Annotated[dict[str, Member], Field(min_length=1)]
    ensemble: Ensemble = Ensemble()

    @field_validator("members")
    @classmethod
    def _names(cls, members: dict[str, Member]) -> dict[str, Member]:
        for name in members:
            checked_name(name)
        return members

    @model_validator(mode="after")
    def _ensemble_is_of_members(self) -> Pipeline:
        for name in self.voters:
            if name not in self.members:
                raise ValueError(f"ensemble.members: no member '{name}'; {one_of(list(self.members), name)}")
        if self.ensemble.name in self.members:
            raise ValueError(f"ensemble.name: '{self.ensemble.name}' is a member's name; choose another")
        return self

    @property
    def voters(self) -> list[str]:
        """Names of the members that vote, in their order."""
        return list(self.ensemble.members or self.members)


def json_schema() -> dict[str, Any]:
    """JSON Schema of a pipeline file, for editors.

    Nothing is required there, because a file may take it from the one it extends.
    """
    schema = Pipeline.model_json_schema()
    for part in [schema, *schema["$defs"].values()]:
        part.pop("required", None)
    return schema
