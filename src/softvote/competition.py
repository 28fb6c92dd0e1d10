"""The facts of a competition: its files, its images, its labels."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from softvote.schema import Strict, checked_name

LARGEST_DIGIT = 9
LARGEST_ADDEND = 9


@dataclass(frozen=True)
class Task:
    """What is to be named.

    Attributes:
        num_classes: K, of the label.
        hidden_digits: S, where the label is a sum of digits 0..9 that hide in the image.
        addend: whether a known integer 0..9 comes with the image and is part of the sum.
    """

    num_classes: int
    hidden_digits: int | None = None
    addend: bool = False

    @property
    def num_values(self) -> int:
        """How many values an image can show: the classes, less what the addend puts on top."""
        return self.num_classes - (LARGEST_ADDEND if self.addend else 0)

    @property
    def is_of_sums(self) -> bool:
        """Whether labels are sums of several numbers, so that how far off a guess is means something."""
        return (self.hidden_digits or 0) + self.addend > 1


class PixelCsv(Strict):
    """One line an image: pixels row by row, a label column anywhere, perhaps an id column."""

    format: Literal["pixel_csv"]
    train: str = "train.csv"
    test: str = "test.csv"
    label: str = "label"
    """The label's column in the train file."""
    id: str | None = None
    """The id's column, where both files have one; else test rows are in sample_submission's order."""
    addend: str = "addend"
    """The addend's column in both files, where competition.addend says that there is one."""


class ImageFolder(Strict):
    """A CSV of ids and labels beside folders of image files."""

    format: Literal["image_folder"]
    train: str = "train.csv"
    train_images: str = "train"
    test_images: str = "test"
    id: str = "id"
    """The column that names the image file, with or without its suffix."""
    label: str = "label"
    suffix: str = ""
    """Added to ids that are written without it, such as .png."""


class NpyArrays(Strict):
    """uint8 arrays (N, H, W) or (N, H, W, C) and integer labels (N,); several files are joined."""

    format: Literal["npy"]
    train: list[str] = ["train.npy"]
    train_labels: list[str] = ["train_labels.npy"]
    test: list[str] = ["test.npy"]
    train_addends: list[str] = []
    """Integers 0..9 (N,), where competition.addend says that there are some."""
    test_addends: list[str] = []


Files = Annotated[PixelCsv | ImageFolder | NpyArrays, Field(discriminator="format")]


class Image(Strict):
    """What one image looks like."""

    height: Annotated[int, Field(ge=1)]
    width: Annotated[int, Field(ge=1)]
    channels: Literal[1, 3] = 1
    resize: bool = False
    """Image files of other sizes are brought to this one instead of refused."""


class LabelRange(Strict):
    """Integer labels from first to last, both included."""

    first: int
    last: int

    @model_validator(mode="after")
    def _ascending(self) -> LabelRange:
        if self.last <= self.first:
            raise ValueError(f"last ({self.last}) must be above first ({self.first})")
        return self


def _kind_of_labels(labels: Any) -> str:
    return "names" if isinstance(labels, list) else "range"


Labels = Annotated[
    Annotated[LabelRange, Tag("range")] | Annotated[list[str], Field(min_length=2), Tag("names")],
    Discriminator(_kind_of_labels),
]


class Competition(Strict):
    """The facts of a competition; nothing else in the program asks which one it is in."""

    name: str
    """Also its folder under input/."""
    files: Files
    image: Image
    labels: Labels
    """A range of integers, or the names of the classes."""
    hidden_digits: Annotated[int, Field(ge=1, le=10)] | None = None
    """So many digits 0..9 hide in an image, and the label is their sum; left out, classes are classes."""
    addend: bool = False
    """A known integer 0..9 comes with each image and is part of the sum."""
    metric: Literal["accuracy"] = "accuracy"
    sample_submission: str = "sample_submission.csv"
    """Its header, ids and their order are what a submission must have."""
    solution: str | None = None
    """The true labels of the test rows in the same form, where they are known (a demo)."""
    kaggle: str | None = None
    """What Kaggle calls it, the last part of its address; left out, nothing is ever sent there."""
    public_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Of the test rows, those behind Kaggle's public score; the private score is of the others."""

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
                raise ValueError("addend: is added to hidden digits; say how many: hidden_digits: 1")
            return self
        last = LARGEST_DIGIT * self.hidden_digits + (LARGEST_ADDEND if self.addend else 0)
        if self.classes != [str(label) for label in range(last + 1)]:
            what = f"{self.hidden_digits} hidden digits{' and an addend' if self.addend else ''}"
            raise ValueError(
                f"sums of {what} are labels: {{first: 0, last: {last}}}; mend labels or hidden_digits"
            )
        return self

    @model_validator(mode="after")
    def _addends_are_somewhere(self) -> Competition:
        files = self.files
        if self.addend and isinstance(files, ImageFolder):
            raise ValueError("files of format image_folder have no place for addends; use pixel_csv or npy")
        if isinstance(files, NpyArrays) and self.addend != bool(files.train_addends and files.test_addends):
            raise ValueError("addend: true, files.train_addends and files.test_addends belong together")
        return self

    @field_validator("name")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        return checked_name(name)

    @field_validator("kaggle")
    @classmethod
    def _is_a_slug(cls, slug: str | None) -> str | None:
        if slug is not None and not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", slug):
            raise ValueError(
                f"{slug!r} is no competition of Kaggle; write the end of its address, as digit-recognizer"
            )
        return slug

    @model_validator(mode="after")
    def _known_answers_are_not_sent(self) -> Competition:
        if self.kaggle is not None and self.solution is not None:
            raise ValueError("kaggle: where the solution is known nothing is sent; leave out one of the two")
        return self

    @field_validator("labels", mode="before")
    @classmethod
    def _class_names_are_text(cls, labels: Any) -> Any:
        # YAML reads [0, 1] as integers and [yes, no] as booleans; the first is harmless.
        if not isinstance(labels, list):
            return labels
        for label in labels:
            if isinstance(label, bool):
                raise ValueError(
                    "YAML reads yes, no, on and off as true and false: write class names in quotes"
                )
        names = [str(label) for label in labels]
        if len(set(names)) < len(names):
            raise ValueError("a class is named twice")
        return names
