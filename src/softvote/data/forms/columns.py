"""A column per class, tag or target."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from softvote.config.entries import Predicted
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
    check_names_of_columns,
    faults_of_numbers,
    number_cell,
    read_marks,
    register_form,
    unique_ids,
)
from softvote.data.readers.base import look_up, quote
from softvote.errors import ErrorCollector, one_of
from softvote.task import LabelSpace, TaskKind

if TYPE_CHECKING:
    from softvote.config.competition import Competition

_SUM_TOLERANCE = 1e-3


@register_form(rank=1)
class ColumnsForm(Form):
    name: Literal["columns"] = "columns"
    """`columns`: the id, and a column per class or tag with its probability (of tags 0 or 1, where the metric
    is of labels), or per target with its label."""

    takes: ClassVar[Mapping[TaskKind, tuple[Predicted, ...]]] = {
        "classes": ("probabilities",),
        "ordered": ("probabilities",),
        "tags": ("probabilities", "labels"),
        "targets": ("labels",),
    }

    def check_header(self, table: Table, space: LabelSpace, problems: ErrorCollector) -> None:
        """Note columns that are missing or too many."""
        check_names_of_columns(table, _names(space), _what(space), problems)

    def lines(
        self, template: SubmissionTemplate, predictions: NDArray[Any], space: LabelSpace
    ) -> Iterable[Line]:
        """The columns in the sample's order."""
        places = [_names(space).index(name) for name in template.header[1:]]
        if space.task.kind == "targets":
            labels = [space.targets[place][1] for place in places]
            for line in predictions[:, places]:
                yield [names[label] for names, label in zip(labels, line, strict=True)]
            return
        write = number_cell if predictions.dtype.kind == "f" else str
        for line in predictions[:, places].tolist():
            yield [write(value) for value in line]

    def read_answers(self, table: Table, competition: Competition, problems: ErrorCollector) -> Answers:
        """Of classes the one whose column is 1; of tags all of them; of targets their labels."""
        space, ids = competition.label_space, unique_ids(table, problems)
        if space.task.kind == "targets":
            labels = [
                read_labels_of_target(table.column(name), name, names, _place(table, name), problems)
                for name, names in space.targets
            ]
            return Answers(ids, np.stack(labels, axis=1))
        marks = read_marks(table, space.names, problems)
        if space.task.kind == "tags":
            return Answers(ids, marks)
        for row in np.flatnonzero(marks.sum(axis=1) != 1).tolist():
            problems.add(table.where(row, table.header[0]), f"{marks[row].sum()} classes are 1", "mark one")
        return Answers(ids, marks.argmax(axis=1))

    def check_cells(
        self, columns: Sequence[Sequence[str]], header: Sequence[str], space: LabelSpace
    ) -> Faults:
        """What is not a probability, or does not sum to 1 over classes; of targets what is not a label."""
        if space.task.kind == "targets":
            yield from _faults_of_labels(columns, header, dict(space.targets))
            return
        faults = list(faults_of_numbers(columns))
        yield from faults
        if space.task.is_single_label and not faults:
            sums = np.array(columns, np.float64).sum(axis=0)
            for row in np.flatnonzero(np.abs(sums - 1) > _SUM_TOLERANCE).tolist():
                yield Fault(row, 0, f"the probabilities of the row sum to {sums[row]:g}, not 1")

    @classmethod
    def recognise(cls, table: Table, space: LabelSpace) -> RecognisedForm | None:
        """The id and a column of each name."""
        if len(table.header) < 3 or set(table.header[1:]) != set(_names(space)):
            return None
        what, count = _what(space), len(table.header) - 1
        words = [
            f"the submission has a column for each of {count} {'classes' if what == 'class' else what + 's'}"
        ]
        if space.task.kind == "targets":
            return RecognisedForm("columns", "accuracy", words)
        return RecognisedForm("columns", "log_loss", [*words, METRIC_IS_UNKNOWN])


def _names(space: LabelSpace) -> tuple[str, ...]:
    return space.names if space.task.kind != "targets" else space.target_names


def _what(space: LabelSpace) -> str:
    return {"tags": "tag", "targets": "target"}.get(space.task.kind, "class")


def _place(table: Table, column: str) -> Any:
    return lambda row: table.where(row, column)


def read_labels_of_target(
    cells: Sequence[str], target: str, names: Sequence[str], where: Any, problems: ErrorCollector
) -> NDArray[np.int64]:
    """Indices int64 (N,) of a target's labels; unknown ones are noted and become 0."""

    def wrong(text: str) -> str:
        return f"{quote(text)} is not a label of {target}; {one_of(list(names), text)}"

    return look_up(cells, {name: index for index, name in enumerate(names)}, wrong, where, problems)


def _faults_of_labels(
    columns: Sequence[Sequence[str]], header: Sequence[str], targets: Mapping[str, Sequence[str]]
) -> Faults:
    for place, (texts, target) in enumerate(zip(columns, header, strict=True)):
        known = set(targets[target])
        for row, text in enumerate(texts):
            if text not in known:
                hint = one_of(list(targets[target]), text)
                yield Fault(row, place, f"label {text!r} is none of {target}", hint)
