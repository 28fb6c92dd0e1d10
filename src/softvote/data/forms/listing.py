"""A list of tags, or of the most probable classes, in one cell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from softvote.config.entries import Predicted
from softvote.config.schema import ConfigError
from softvote.data.csv_table import Table
from softvote.data.forms.base import (
    METRIC_IS_UNKNOWN,
    Answers,
    Fault,
    Faults,
    Form,
    Line,
    RecognisedForm,
    SubmissionTemplate,
    register_form,
    unique_ids,
)
from softvote.data.readers.base import class_indices, quote
from softvote.errors import ErrorCollector, one_of
from softvote.task import LabelSpace, TaskKind
from softvote.words import counted

if TYPE_CHECKING:
    from softvote.config.competition import Competition

_SEPARATORS = (" ", ";", "|", ",")


@register_form(rank=2)
class ListForm(Form):
    name: Literal["list"] = "list"
    """`list`: two columns, the id and several names in one cell: all tags of the image, or its most probable
    classes, the first first."""
    separator: Annotated[str, Field(min_length=1)] = " "
    """What stands between two names."""

    takes: ClassVar[Mapping[TaskKind, tuple[Predicted, ...]]] = {
        "tags": ("labels",),
        "classes": ("top_k",),
        "ordered": ("top_k",),
    }
    two_columns: ClassVar[str] = "id and list"

    def check(self, space: LabelSpace) -> None:
        """Refuse a separator that is within names."""
        for name in space.names:
            if self.separator in name:
                what = f"{self.separator!r} is within the name {name!r}"
                raise ConfigError.at("separator", what, "use another, such as ';'")

    def lines(
        self, template: SubmissionTemplate, predictions: NDArray[Any], space: LabelSpace
    ) -> Iterable[Line]:
        """The names, tags in the order of the competition; nothing where no tag is decided for."""
        for line in predictions:
            columns = np.flatnonzero(line) if space.task.kind == "tags" else line
            yield [self.separator.join(space.names[column] for column in columns)]

    def read_answers(self, table: Table, competition: Competition, problems: ErrorCollector) -> Answers:
        """All tags of an image; of classes the single one that is right."""
        space, column = competition.label_space, table.header[1]
        ids, cells = unique_ids(table, problems), table.column(column)
        if space.task.kind != "tags":
            return Answers(
                ids, class_indices(cells, competition, lambda row: table.where(row, column), problems)
            )
        index_of = {name: index for index, name in enumerate(space.names)}
        labels = np.zeros((len(cells), len(space.names)), np.int64)
        for row, text in enumerate(cells):
            for name in self._split(text):
                if name in index_of:
                    labels[row, index_of[name]] = 1
                else:
                    what = f"{quote(name)} is not a tag; {one_of(list(space.names), name)}"
                    problems.add(table.where(row, column), what)
        return Answers(ids, labels)

    def check_cells(
        self, columns: Sequence[Sequence[str]], header: Sequence[str], space: LabelSpace
    ) -> Faults:
        """Names that do not exist or stand twice, and classes that are missing."""
        known = set(space.names)
        for row, text in enumerate(columns[0]):
            names = self._split(text)
            if not names and space.task.kind != "tags":
                yield Fault(row, 0, "no class is named")
            for name, count in Counter(names).items():
                if name not in known:
                    yield Fault(row, 0, f"{name!r} is not a {_what(space)}", one_of(list(space.names), name))
                elif count > 1:
                    yield Fault(row, 0, f"{name!r} stands there {count} times")

    def _split(self, text: str) -> list[str]:
        return [name for part in text.split(self.separator) if (name := part.strip())]

    @classmethod
    def recognise(cls, table: Table, space: LabelSpace) -> RecognisedForm | None:
        """Two columns, the second of several names in a cell; of tags one is enough."""
        if len(table.header) != 2 or space.task.kind == "targets":
            return None
        cells = table.column(table.header[1])
        for separator in _SEPARATORS:
            if any(separator in name for name in space.names):
                continue
            form = cls(separator=separator)
            lists = [form._split(text) for text in cells]
            most = max(map(len, lists))
            if all(set(names) <= set(space.names) for names in lists) and (
                most > 1 or (most == 1 and space.task.kind == "tags")
            ):
                return form._recognised(most, space)
        return None

    def _recognised(self, most: int, space: LabelSpace) -> RecognisedForm:
        config = {"name": "list", "separator": self.separator}
        between = f"with {self.separator!r} between them"
        if space.task.kind == "tags":
            words = [f"the submission gives each image a list of tags {between}"]
            return RecognisedForm(config, {"name": "f1", "average": "samples"}, [*words, METRIC_IS_UNKNOWN])
        given = f"{counted(most, 'class', 'classes')} {between}, the most probable first"
        words = [f"the submission gives each image {given}"]
        return RecognisedForm(config, {"name": "map_at_k", "k": most}, [*words, METRIC_IS_UNKNOWN])


def _what(space: LabelSpace) -> str:
    return "tag" if space.task.kind == "tags" else "class"
