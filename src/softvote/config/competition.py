"""What a pipeline file says of a competition: its files, its images, its labels."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from softvote.config.entries import FilesConfig, FormConfig, MetricConfig
from softvote.config.image import Image
from softvote.config.registry import (
    FORMS_PLACE,
    METRICS_PLACE,
    READERS_PLACE,
    load_registry,
    named_union_of,
    union_of,
)
from softvote.config.schema import ConfigError, Strict, check_name
from softvote.errors import UserError
from softvote.task import LARGEST_ADDEND, LARGEST_DIGIT, LabelSpace, Task, TaskKind
from softvote.words import counted

_FORMS = load_registry(FORMS_PLACE)


_METRICS = load_registry(METRICS_PLACE)


if TYPE_CHECKING:
    Files = FilesConfig
    Metric = MetricConfig
    Form = FormConfig
else:
    Metric = named_union_of(_METRICS)
    Form = named_union_of(_FORMS)
    Files = union_of([reader.files for reader in load_registry(READERS_PLACE).values()], "format")


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


class LabelColumn(Strict):
    """Class names that stand in a column of one of the competition's tables."""

    file: str
    """CSV by its path in the competition's folder."""
    column: str
    """Name of its column; the different labels there are the classes, integers by value and others by
    name."""


def _kind_of_labels(labels: Any) -> str:
    if isinstance(labels, LabelColumn) or (isinstance(labels, dict) and {"file", "column"} & labels.keys()):
        return "column"
    return "names" if isinstance(labels, list) else "range"


_Range = Annotated[LabelRange, Tag("range")]


_Names = Annotated[list[str], Field(min_length=2), Tag("names")]


LabelsConfig = Annotated[_Range | _Names, Discriminator(_kind_of_labels)]


class Competition(Strict):
    """What a pipeline file says of a competition; nothing else in the program asks which one it is in."""

    name: str
    """Name of the competition, and of its folder under `input/`: letters, digits, `-` and `_`."""
    files: Files
    """How the raw files are laid out; `format` chooses the layout."""
    image: Image
    """Size and colour of one image."""
    labels: (
        Annotated[_Range | _Names | Annotated[LabelColumn, Tag("column")], Discriminator(_kind_of_labels)]
        | None
    ) = None
    """One of these is right for an image: a range of integers (`first`, `last`), a list of at least two class
    names, or, where they are many, the column of a table that has them (`file`, `column`)."""
    ordered: bool = False
    """The order of `labels` means something, as with grades."""
    tags: Annotated[list[str], Field(min_length=1)] | None = None
    """In place of `labels`: names of which any number may be right for an image."""
    targets: Annotated[dict[str, LabelsConfig], Field(min_length=1)] | None = None
    """In place of `labels`: several targets by their names, each with labels of its own."""
    hidden_digits: Annotated[int, Field(ge=1, le=10)] | None = None
    """Number of digits 0..9 hidden in an image, whose sum is the label; if omitted, labels are plain
    classes."""
    addend: bool = False
    """A known integer 0..9 comes with each image and is part of the sum."""
    metric: Metric = _METRICS["accuracy"]()
    """What is scored, by its name (`accuracy`) or with its parameters (`{name: f_beta, beta: 2}`)."""
    form: Form | None = None
    """How a submission is written, by its name (`label`) or with what it takes beyond
    (`{name: list, separator: " "}`); if omitted, `label`, of tags `columns`, of targets `rows`."""
    sample_submission: str = "sample_submission.csv"
    """CSV whose header, ids and order of rows a submission must have."""
    solution: str | None = None
    """CSV of the true labels of the test rows in the same form, where they are known (a demo)."""
    corrections: str | None = None
    """CSV in the competition's folder of training labels that are wrong as given, with columns `row` (from
    0), `label` (as given) and `corrected`; training and scores take the corrected ones. Of tags it has a
    column `tag` beside, and labels 0 and 1; of several targets a column `target`."""
    kaggle: str | None = None
    """Slug of the competition on Kaggle, the last part of its address; if omitted, nothing is ever sent
    there."""
    public_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Proportion of the test rows behind Kaggle's public score; the private score is of the others."""
    hidden_test_rows: Annotated[int, Field(ge=1)] | None = None
    """Number of test rows that kernels are run again on, where the competition hides them; standard errors on
    the leaderboard go by it. If omitted, by the rows of sample_submission.csv."""

    @property
    def classes(self) -> list[str]:
        """What each column of probabilities stands for: a label or tag as it is written in files; of several
        targets `target=label`.

        Raises:
            UserError: the names stand in a table that is still to be had.
        """
        if self.tags is not None:
            return self.tags
        if self.targets is not None:
            return [f"{target}={label}" for target, labels in self.target_classes.items() for label in labels]
        assert self.labels is not None, "one of labels, tags and targets is there"
        if isinstance(self.labels, LabelColumn):
            where = f"input/{self.name}/{self.labels.file}"
            raise UserError.at(
                where,
                "is missing, and holds the names of classes",
                f"get it with: `data path/to/{self.name}.zip`",
            )
        return _names(self.labels)

    @property
    def knows_classes(self) -> bool:
        """Whether the names of classes are there, or stand in a table that is still to be had."""
        return not isinstance(self.labels, LabelColumn)

    @property
    def target_classes(self) -> dict[str, list[str]]:
        """The labels of each of several targets as they are written in files, by its name; else empty."""
        return {target: _names(labels) for target, labels in (self.targets or {}).items()}

    @property
    def task(self) -> Task:
        """What is asked of an image."""
        sizes = tuple(len(labels) for labels in self.target_classes.values())
        return Task(len(self.classes), self.hidden_digits, self.addend, self._kind, sizes)

    @property
    def label_space(self) -> LabelSpace:
        """The task with the names of its columns and targets."""
        targets = tuple((target, tuple(labels)) for target, labels in self.target_classes.items())
        return LabelSpace(self.task, tuple(self.classes), targets)

    @property
    def submission_form(self) -> FormConfig:
        """How a submission is written, also where nothing says so."""
        form: FormConfig = self.form or _FORMS[usual_form(self._kind)]()
        return form

    @property
    def _kind(self) -> TaskKind:
        if self.tags is not None:
            return "tags"
        if self.targets is not None:
            return "targets"
        return "ordered" if self.ordered else "classes"

    @model_validator(mode="after")
    def _one_of_labels_tags_and_targets(self) -> Competition:
        if [self.labels, self.tags, self.targets].count(None) != 2:
            raise ConfigError.at(
                "", "labels, tags or targets: one of the three says what is named", "write just one of them"
            )
        if self.labels is None and self.ordered:
            raise ConfigError.at("", "ordered: goes with labels", "leave it out")
        return self

    @model_validator(mode="after")
    def _labels_are_the_sums(self) -> Competition:
        if self.hidden_digits is None:
            if self.addend:
                raise ConfigError.at(
                    "", "addend: is added to hidden digits", "say how many, such as hidden_digits: 1"
                )
            return self
        last = LARGEST_DIGIT * self.hidden_digits + (LARGEST_ADDEND if self.addend else 0)
        if not self.task.is_single_label or self.classes != [str(label) for label in range(last + 1)]:
            what = f"{counted(self.hidden_digits, 'hidden digit')}{' and an addend' if self.addend else ''}"
            raise ConfigError.at(
                "", f"sums of {what} are labels: {{first: 0, last: {last}}}", "fix labels or hidden_digits"
            )
        return self

    @model_validator(mode="after")
    def _metric_and_form_fit_the_labels(self) -> Competition:
        if not self.knows_classes:
            return self
        space, form = self.label_space, self.submission_form
        if self._kind not in self.metric.kinds:
            fitting = ", ".join(name for name, metric in _METRICS.items() if self._kind in metric.kinds)
            raise ConfigError.at("metric", f"{self.metric.name} is not for {self._kind}", f"use {fitting}")
        if self._kind not in form.takes:
            fitting = ", ".join(name for name, other in _FORMS.items() if self._kind in other.takes)
            raise ConfigError.at("form", f"{form.name} does not write {self._kind}", f"use {fitting}")
        for key, part in (("metric", self.metric), ("form", form)):
            try:
                part.check(space)
            except ConfigError as error:
                raise error.under(key) from None
        return self

    @model_validator(mode="after")
    def _files_fit(self) -> Competition:
        self.files.check_addend(self.addend)
        self.files.check_channels(self.image.channels)
        return self

    @field_validator("name")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        return check_name(name)

    @field_validator("kaggle")
    @classmethod
    def _is_a_slug(cls, slug: str | None) -> str | None:
        if slug is not None and not re.fullmatch(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*", slug):
            raise ConfigError.at(
                "",
                f"{slug!r} is not a Kaggle competition",
                "write the end of its address, such as digit-recognizer",
            )
        return slug

    @model_validator(mode="after")
    def _known_answers_are_not_sent(self) -> Competition:
        if self.kaggle is not None and self.solution is not None:
            raise ConfigError.at(
                "", "kaggle: where the solution is known nothing is sent", "leave out one of the two"
            )
        return self

    @field_validator("labels", "tags", mode="before")
    @classmethod
    def _class_names_are_text(cls, labels: Any) -> Any:
        return _as_text(labels)

    @field_validator("targets", mode="before")
    @classmethod
    def _names_of_targets_are_text(cls, targets: Any) -> Any:
        if not isinstance(targets, dict):
            return targets
        return {str(target): _as_text(labels) for target, labels in targets.items()}


def usual_form(kind: TaskKind) -> str:
    """The name of the form in which tasks of this kind are submitted where nothing says otherwise."""
    return {"tags": "columns", "targets": "rows"}.get(kind, "label")


def _names(labels: LabelRange | list[str]) -> list[str]:
    if isinstance(labels, list):
        return labels
    return [str(label) for label in range(labels.first, labels.last + 1)]


def _as_text(labels: Any) -> Any:
    """Class names as they were written: YAML reads [0, 1] as integers, which does no harm, and [yes, no] as
    booleans, which does."""
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
