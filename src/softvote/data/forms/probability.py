"""The probability of one class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from softvote.config.entries import Predicted
from softvote.config.schema import ConfigError
from softvote.data.csv_table import Table
from softvote.data.forms.base import (
    METRIC_IS_UNKNOWN,
    Answers,
    Faults,
    Form,
    Line,
    RecognisedForm,
    SubmissionTemplate,
    as_number,
    faults_of_numbers,
    number_cell,
    read_marks,
    register_form,
    unique_ids,
)
from softvote.errors import ErrorCollector, one_of
from softvote.task import LabelSpace, TaskKind

if TYPE_CHECKING:
    from softvote.config.competition import Competition


@register_form(rank=4)
class ProbabilityForm(Form):
    name: Literal["probability"] = "probability"
    """`probability`: two columns, the id and the probability of one of two classes."""
    of: str | None = None
    """Name of the class whose probability is written; if omitted, the second."""

    takes: ClassVar[Mapping[TaskKind, tuple[Predicted, ...]]] = {
        "classes": ("probabilities",),
        "ordered": ("probabilities",),
    }
    two_columns: ClassVar[str] = "id and probability"

    def check(self, space: LabelSpace) -> None:
        """Refuse other than two classes, and a class that there is not."""
        if len(space.names) != 2:
            raise ConfigError.at(
                "", f"is for two classes, but this competition has {len(space.names)}", "use columns"
            )
        if self.of is not None and self.of not in space.names:
            raise ConfigError.at("of", f"no class '{self.of}'", one_of(list(space.names), self.of))

    def _column(self, space: LabelSpace) -> int:
        return 1 if self.of is None else space.names.index(self.of)

    def lines(
        self, template: SubmissionTemplate, predictions: NDArray[Any], space: LabelSpace
    ) -> Iterable[Line]:
        """The probability."""
        return ([number_cell(value)] for value in predictions[:, self._column(space)])

    def read_answers(self, table: Table, competition: Competition, problems: ErrorCollector) -> Answers:
        """1 where the class is right."""
        column = self._column(competition.label_space)
        marks = read_marks(table, table.header[1:2], problems)[:, 0]
        return Answers(unique_ids(table, problems), np.where(marks == 1, column, 1 - column))

    def check_cells(
        self, columns: Sequence[Sequence[str]], header: Sequence[str], space: LabelSpace
    ) -> Faults:
        """What is not a probability."""
        return faults_of_numbers(columns)

    @classmethod
    def recognise(cls, table: Table, space: LabelSpace) -> RecognisedForm | None:
        """Two columns, the second of numbers 0..1, where there are two classes."""
        if len(table.header) != 2 or not space.task.is_single_label or len(space.names) != 2:
            return None
        cells = table.column(table.header[1])
        values = [as_number(text) for text in cells]
        if not all(value is not None and 0 <= value <= 1 for value in values):
            return None
        # `id,dog` with classes cat and dog; else the second, as 1 of 0 and 1.
        named = [name for name in space.names if name.lower() == table.header[1].lower()]
        of = named[0] if named else space.names[1]
        words = [
            f"the submission gives each image a number, as {cells[0]} in the sample: "
            f"read as the probability of class '{of}'",
            METRIC_IS_UNKNOWN,
        ]
        return RecognisedForm({"name": "probability", "of": of}, "log_loss", words)
