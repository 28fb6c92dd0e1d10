"""What a pipeline file says of a competition: its files, its images, its labels."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from softvote.config.registry import READERS_PLACE, FilesConfig, load_registry, union_of
from softvote.config.schema import ConfigError, Strict, checked_name
from softvote.task import LARGEST_ADDEND, LARGEST_DIGIT, Task

if TYPE_CHECKING:
    Files = FilesConfig
else:
    Files = union_of([reader.files for reader in load_registry(READERS_PLACE).values()], "format")


class Image(Strict):
    """What one image looks like."""

    height: Annotated[int, Field(ge=1)]
    """Height of every image, in pixels."""
    width: Annotated[int, Field(ge=1)]
    """Width of every image, in pixels."""
    channels: Literal[1, 3] = 1
    """Number of colour channels: 1 for grey, 3 for RGB."""
    resize: bool = False
    """Resize image files of other sizes to this one, instead of refusing them."""


class LabelRange(Strict):
    """Integer labels from first to last, both included."""

    first: int
    """Smallest label, an integer."""
    last: int
    """Largest label, an integer above `first`; included."""

    @model_validator(mode="after")
    def _ascending(self) -> LabelRange:
        if self.last <= self.first:
            raise ConfigError.at("", f"last ({self.last}) must be above first ({self.first})")
        return self


def _kind_of_labels(labels: Any) -> str:
    return "names" if isinstance(labels, list) else "range"


LabelsConfig = Annotated[
    Annotated[LabelRange, Tag("range")] | Annotated[list[str], Field(min_length=2), Tag("names")],
    Discriminator(_kind_of_labels),
]


class Competition(Strict):
    """What a pipeline file says of a competition; nothing else in the program asks which one it is in."""

    name: str
    """Name of the competition, and of its folder under `input/`: letters, digits, `-` and `_`."""
    files: Files
    """How the raw files are laid out; `format` chooses the layout."""
    image: Image
    """Size and colour of one image."""
    labels: LabelsConfig
    """A range of integers (`first`, `last`), or a list of at least two class names."""
    hidden_digits: Annotated[int, Field(ge=1, le=10)] | None = None
    """Number of digits 0..9 hidden in an image, whose sum is the label; left out, labels are plain
    classes."""
    addend: bool = False
    """A known integer 0..9 comes with each image and is part of the sum."""
    metric: Literal["accuracy"] = "accuracy"
    """What is scored: `accuracy`, the proportion of rows whose label is right."""
    sample_submission: str = "sample_submission.csv"
    """CSV whose header, ids and order of rows a submission must have."""
    solution: str | None = None
    """CSV of the true labels of the test rows in the same form, where they are known (a demo)."""
    kaggle: str | None = None
    """Slug of the competition on Kaggle, the last part of its address; left out, nothing is ever sent
    there."""
    public_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Proportion of the test rows behind Kaggle's public score; the private score is of the others."""

    @property
    def classes(self) -> list[str]:
        """Every label as it is written in files, in the order of the probabilities' columns."""
        if isinstance(self.labels, list):
            return self.labels
        return [str(label) for label in range(self.labels.first, self.labels.last + 1)]

    @property
    def task(self) -> Task:
        return Task(len(self.classes), self.hidden_digits, self.addend)

    @model_validator(mode="after")
    def _labels_are_the_sums(self) -> Competition:
        if self.hidden_digits is None:
            if self.addend:
                raise ConfigError.at(
                    "", "addend: is added to hidden digits", "say how many: hidden_digits: 1"
                )
            return self
        last = LARGEST_DIGIT * self.hidden_digits + (LARGEST_ADDEND if self.addend else 0)
        if self.classes != [str(label) for label in range(last + 1)]:
            what = f"{self.hidden_digits} hidden digits{' and an addend' if self.addend else ''}"
            raise ConfigError.at(
                "", f"sums of {what} are labels: {{first: 0, last: {last}}}", "mend labels or hidden_digits"
            )
        return self

    @model_validator(mode="after")
    def _addends_are_somewhere(self) -> Competition:
        self.files.check_addend(self.addend)
        return self

    @field_validator("name")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        return checked_name(name)

    @field_validator("kaggle")
    @classmethod
    def _is_a_slug(cls, slug: str | None) -> str | None:
        if slug is not None and not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", slug):
            raise ConfigError.at(
                "",
                f"{slug!r} is not a competition of Kaggle",
                "write the end of its address, as digit-recognizer",
            )
        return slug

    @model_validator(mode="after")
    def _known_answers_are_not_sent(self) -> Competition:
        if self.kaggle is not None and self.solution is not None:
            raise ConfigError.at(
                "", "kaggle: where the solution is known nothing is sent", "leave out one of the two"
            )
        return self

    @field_validator("labels", mode="before")
    @classmethod
    def _class_names_are_text(cls, labels: Any) -> Any:
        # YAML reads [0, 1] as integers and [yes, no] as booleans; the first is harmless.
        if not isinstance(labels, list):
            return labels
        for label in labels:
            if isinstance(label, bool):
                raise ConfigError.at(
                    "", "YAML reads yes, no, on and off as true and false: write class names in quotes"
                )
        names = [str(label) for label in labels]
        if len(set(names)) < len(names):
            raise ConfigError.at("", "a class is named twice")
        return names
