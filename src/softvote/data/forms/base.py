"""What every form of a submission does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from softvote.config.entries import FormConfig
from softvote.config.registry import Registry, register_by_name
from softvote.data.csv_table import Table
from softvote.data.readers.base import quote, report_duplicates
from softvote.errors import MOST_OF_A_KIND, ErrorCollector, one_of
from softvote.task import LabelSpace
from softvote.words import counted

if TYPE_CHECKING:
    from softvote.config.competition import Competition

Line = list[str]
"""The cells of a line."""


METRIC_IS_UNKNOWN = "no file tells which metric counts: check that competition.metric is right"
"""What is said of a form that is asked for by several metrics."""


@dataclass(frozen=True)
class SubmissionTemplate:
    """What a sample submission asks for.

    Attributes:
        header: the names of its columns; the first holds ids.
        ids: one per image, in the order of the sample.
        line_ids: one per line, in its order: the ids, unless an image has several lines.
        repeated: the id of every line as the sample stands, where some stand there again; else None.
    """

    header: tuple[str, ...]
    ids: list[str]
    line_ids: list[str]
    repeated: list[str] | None = None

    @property
    def written_ids(self) -> list[str]:
        """The id of every line that is written."""
        return self.line_ids if self.repeated is None else self.repeated


class SampleTable(NamedTuple):
    """A sample submission that was read.

    Attributes:
        lines: position in the table of the first line of each of the template's ids.
    """

    table: Table
    template: SubmissionTemplate
    lines: list[int]

    def where(self, image: int) -> str:
        """The place of an image's id, for messages."""
        return self.table.where(self.lines[image], self.table.header[0])


class Answers(NamedTuple):
    """The labels int64 of a file in the form of a submission, and the id of each of them.

    Attributes:
        lines: position in the table of the first line of each, where they are not one after the other.
    """

    ids: list[str]
    labels: NDArray[np.int64]
    lines: list[int] | None = None


class RecognisedForm(NamedTuple):
    """A form that a sample submission has.

    Attributes:
        config: what a pipeline file says under `competition.form`.
        metric: of those that such a form is asked for, one that would do; which it is no file tells.
        words: what was taken for what, and what could be otherwise, a sentence each.
    """

    config: str | dict[str, Any]
    metric: str | dict[str, Any]
    words: list[str]


class Form(FormConfig):
    """Writes a submission, reads samples and solutions, and checks what was written."""

    two_columns: ClassVar[str] = ""
    """What the two columns are, for messages; empty where there may be more."""

    def read_template(self, table: Table, competition: Competition, problems: ErrorCollector) -> SampleTable:
        """Find out what a sample submission asks for; what is wrong with it is noted."""
        self.check_header(table, competition.label_space, problems)
        ids = unique_ids(table, problems)
        return SampleTable(table, SubmissionTemplate(tuple(table.header), ids, ids), list(range(len(ids))))

    def check_header(self, table: Table, space: LabelSpace, problems: ErrorCollector) -> None:
        """Note columns that are missing or too many."""
        if self.two_columns and len(table.header) != 2:
            count, names = len(table.header), ", ".join(table.header[:8])
            hint = f"it must have two, {self.two_columns}{self._other_forms(table, space)}"
            problems.add(f"{table.path}, row 1", f"has {counted(count, 'column')} ({names})", hint)

    def _other_forms(self, table: Table, space: LabelSpace) -> str:
        found = recognise_table(table, space)
        return f"; or set competition.form: {found.config}" if found else ""

    def lines(
        self, template: SubmissionTemplate, predictions: NDArray[Any], space: LabelSpace
    ) -> Iterable[Line]:
        """What stands after the id in each line.

        Args:
            predictions: of the template's T images, in what this form takes.
        """
        raise NotImplementedError

    def read_answers(self, table: Table, competition: Competition, problems: ErrorCollector) -> Answers:
        """Read true labels from a file of this form; what is wrong with it is noted."""
        raise NotImplementedError

    def check_cells(
        self, columns: Sequence[Sequence[str]], header: Sequence[str], space: LabelSpace
    ) -> Faults:
        """Find cells that cannot be submitted.

        Args:
            columns: the texts of each column after the ids.
            header: the names of these columns.
        """
        raise NotImplementedError

    @classmethod
    def recognise(cls, table: Table, space: LabelSpace) -> RecognisedForm | None:
        """What a sample of this form says; None of another."""
        raise NotImplementedError


class Fault(NamedTuple):
    """A cell that cannot be submitted.

    Attributes:
        row: position among the lines.
        column: position after the ids.
    """

    row: int
    column: int
    what: str
    hint: str = ""


Faults = Iterator[Fault]


FORMS: Registry[type[Form]] = Registry()
"""The class of every `competition.form`."""


_C = TypeVar("_C", bound=Form)


def register_form(rank: int = 100) -> Callable[[type[_C]], type[_C]]:
    """Register a class under the name that its `name: Literal[...]` allows.

    `rank` is as for `Registry.add`; forms of lower rank are recognised first.
    """
    return register_by_name(FORMS, rank)


def recognise_table(table: Table, space: LabelSpace) -> RecognisedForm | None:
    """The form of a sample submission; None where no form has such a table."""
    found = (kind.recognise(table, space) for kind in FORMS.values())
    return next((form for form in found if form), None)


def unique_ids(table: Table, problems: ErrorCollector) -> list[str]:
    """The first column; ids that are empty or stand twice are noted."""
    name = table.header[0]
    ids = table.column(name)
    report_duplicates(ids, lambda position: table.where(position, name), problems)
    return ids


def check_names_of_columns(table: Table, wanted: Sequence[str], what: str, problems: ErrorCollector) -> None:
    """Note columns after the id that are missing, and those that nobody knows."""
    there, place = table.header[1:], f"{table.path}, row 1"
    for name in [name for name in wanted if name not in there][:MOST_OF_A_KIND]:
        problems.add(place, f"no column '{name}' for the {what} of that name", one_of(there, name))
    for name in [name for name in there if name not in wanted][:MOST_OF_A_KIND]:
        problems.add(place, f"column '{name}' is not a {what}", one_of(list(wanted), name))


def read_marks(table: Table, columns: Sequence[str], problems: ErrorCollector) -> NDArray[np.int64]:
    """Cells of 0 and 1, int64 (N, n); others are noted and become 0."""
    marks = np.zeros((len(table.records), len(columns)), np.int64)
    for place, name in enumerate(columns):
        for row, text in enumerate(table.column(name)):
            value = as_number(text)
            if value in (0, 1):
                marks[row, place] = int(value)
            else:
                problems.add(table.where(row, name), f"{quote(text)} is neither 0 nor 1", "fix it")
    return marks


def as_number(text: str) -> float | None:
    """The number that a text is; None of any other text, and of what is not finite."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def number_cell(value: float | np.floating) -> str:
    """A probability with the nine digits that tell any two float32 apart."""
    return f"{value:.9g}"


def faults_of_numbers(columns: Sequence[Sequence[str]]) -> Faults:
    """Cells that are not numbers 0..1."""
    for place, texts in enumerate(columns):
        try:
            values = np.array(texts, np.float64)
        except ValueError:
            values = np.array([np.nan if (value := as_number(text)) is None else value for text in texts])
        for row in np.flatnonzero(~((values >= 0) & (values <= 1))).tolist():
            what = "is not a number" if np.isnan(values[row]) else "is not a probability between 0 and 1"
            yield Fault(row, place, f"{texts[row]!r} {what}" if texts[row] else "the cell is empty")
