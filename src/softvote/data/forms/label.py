"""A label per image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from numpy.typing import NDArray

from softvote.config.entries import Predicted
from softvote.data.csv_table import Table
from softvote.data.forms.base import (
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
from softvote.data.readers.base import class_indices
from softvote.errors import ErrorCollector, one_of
from softvote.task import LabelSpace, TaskKind

if TYPE_CHECKING:
    from softvote.config.competition import Competition


@register_form(rank=3)
class LabelForm(Form):
    name: Literal["label"] = "label"
    """`label`: two columns, the id and the label as it is written in the train file."""

    takes: ClassVar[Mapping[TaskKind, tuple[Predicted, ...]]] = {
        "classes": ("labels",),
        "ordered": ("labels",),
    }
    two_columns: ClassVar[str] = "id and label"

    def lines(
        self, template: SubmissionTemplate, predictions: NDArray[Any], space: LabelSpace
    ) -> Iterable[Line]:
        """The label."""
        return ([space.names[label]] for label in predictions)

    def read_answers(self, table: Table, competition: Competition, problems: ErrorCollector) -> Answers:
        """The label of each line."""
        column = table.header[1]
        cells = table.column(column)
        labels = class_indices(cells, competition, lambda row: table.where(row, column), problems)
        return Answers(unique_ids(table, problems), labels)

    def check_cells(
        self, columns: Sequence[Sequence[str]], header: Sequence[str], space: LabelSpace
    ) -> Faults:
        """Labels that do not exist."""
        classes = list(space.names)
        known, whole_numbers = set(classes), all(map(_is_integer, classes))
        for row, text in enumerate(columns[0]):
            if text not in known:
                yield Fault(row, 0, *_label_problem(text, classes, whole_numbers))

    @classmethod
    def recognise(cls, table: Table, space: LabelSpace) -> RecognisedForm | None:
        """Two columns, the second of labels."""
        if len(table.header) != 2 or not space.task.is_single_label:
            return None
        cells = set(table.column(table.header[1]))
        if not cells <= set(space.names):
            return None
        words = [f"the submission gives each image a label, as {sorted(cells)[0]!r} in the sample"]
        if cells == {"0"} and set(space.names) == {"0", "1"}:
            words.append(
                "a sample of nothing but 0 may ask for a probability too: then write "
                "form: probability and a metric of probabilities, such as roc_auc"
            )
        return RecognisedForm("label", "accuracy", words)


def _label_problem(label: str, classes: list[str], whole_numbers: bool) -> tuple[str, str]:
    """What is wrong, and what to do."""
    if not label:
        return "the label is empty", ""
    if not whole_numbers:
        return f"label {label!r} is not a class", one_of(classes, label)
    if not _is_integer(label):
        how = f"write {classes[0]} to {classes[-1]} without point or sign"
        return f"label {label!r} is not an integer", how
    return f"label {label!r} is not one of {classes[0]}..{classes[-1]}", ""


def _is_integer(text: str) -> bool:
    return text.removeprefix("-").isdecimal() and text.isascii()
