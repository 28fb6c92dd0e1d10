"""What a recipe says of a teacher: whose probabilities a member learns beside labels."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from softvote.config.schema import ConfigError, OneOrSeveral, Positive, Strict


class Teacher(Strict):
    """Other members whose probabilities are targets beside the labels (Hinton, Vinyals and Dean 2015).

    A fold's student learns from the teachers of the same fold, which were trained on the same rows.
    """

    member: OneOrSeveral
    """Name of the member that teaches, or of several, which teach the mean of their probabilities."""
    weight: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Proportion of the loss that compares with the teacher; the rest is the member's own loss, which
    compares with labels."""
    temperature: Positive = 1.0
    """By what logits of teacher and student are divided before they are compared, no unit; above 1 what is
    improbable counts more."""
    test_rows: bool = False
    """Train on the test images too, with the teacher's probabilities as their only targets. Such a member and
    all that build on it are called transductive wherever they are shown."""

    @property
    def names(self) -> list[str]:
        """Those who teach."""
        return [self.member] if isinstance(self.member, str) else self.member

    @field_validator("member")
    @classmethod
    def _once_each(cls, member: str | list[str]) -> str | list[str]:
        if isinstance(member, list) and len(set(member)) < len(member):
            raise ConfigError.at("", "a member is named twice")
        return member
