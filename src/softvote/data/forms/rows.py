"""A row per tag or target of each image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

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
    SampleTable,
    SubmissionTemplate,
    faults_of_numbers,
    number_cell,
    read_marks,
    register_form,
    unique_ids,
)
from softvote.data.forms.columns import read_labels_of_target
from softvote.data.readers.base import quote
from softvote.errors import MOST_OF_A_KIND, ErrorCollector
from softvote.task import LabelSpace, TaskKind

if TYPE_CHECKING:
    from softvote.config.competition import Competition


@register_form(rank=0)
class RowsForm(Form):
    name: Literal["rows"] = "rows"
    """`rows`: two columns, and a line for each tag or target of an image; the first cell is the image's id,
    the separator and the name (`ID_0_any`, `Test_0_grapheme_root`), the second a probability or a label."""
    separator: Annotated[str, Field(min_length=1)] = "_"
    """What stands between the id and the name."""

    takes: ClassVar[Mapping[TaskKind, tuple[Predicted, ...]]] = {
        "tags": ("probabilities", "labels"),
        "targets": ("labels",),
    }
    two_columns: ClassVar[str] = "id_name and value"

    def _parts(self, line_id: str, names: Sequence[str]) -> tuple[str, int] | None:
        """The image's id and the position of the name; the longest name that fits is meant."""
        ends = [place for place, name in enumerate(names) if line_id.endswith(self.separator + name)]
        if not ends:
            return None
        place = max(ends, key=lambda each: len(names[each]))
        return line_id[: -len(self.separator + names[place])], place

    def read_template(self, table: Table, competition: Competition, problems: ErrorCollector) -> SampleTable:
        """As `Form.read_template`; every image has a line for each name."""
        names = competition.label_space.target_names
        self.check_header(table, competition.label_space, problems)
        line_ids = unique_ids(table, problems)
        first, places = dict[str, int](), Counter[str]()
        for line, (image, _) in self._split_lines(table, line_ids, names, problems):
            first.setdefault(image, line)
            places[image] += 1
        short = [image for image, count in places.items() if count < len(names)]
        for image in short[:MOST_OF_A_KIND]:
            problems.add(
                table.where(first[image], table.header[0]),
                f"image {quote(image)} has {places[image]} of {len(names)} lines",
                f"there must be one each for {', '.join(names)}",
            )
        template = SubmissionTemplate(tuple(table.header), list(first), line_ids)
        return SampleTable(table, template, list(first.values()))

    def _split_lines(
        self, table: Table, line_ids: Sequence[str], names: Sequence[str], problems: ErrorCollector
    ) -> Iterable[tuple[int, tuple[str, int]]]:
        """Each line that has an image's id and a name; others are noted."""
        wrong = 0
        for line, text in enumerate(line_ids):
            if (parts := self._parts(text, names)) is not None:
                yield line, parts
            elif (wrong := wrong + 1) <= MOST_OF_A_KIND:
                ends = ", ".join(f"{self.separator}{name}" for name in names[:8])
                problems.add(
                    table.where(line, table.header[0]),
                    f"{quote(text)} does not end with a name",
                    f"known: {ends}",
                )

    def lines(
        self, template: SubmissionTemplate, predictions: NDArray[Any], space: LabelSpace
    ) -> Iterable[Line]:
        """The value of each line's image and name."""
        row_of = {image: row for row, image in enumerate(template.ids)}
        write = number_cell if predictions.dtype.kind == "f" else str
        for line_id in template.line_ids:
            parts = self._parts(line_id, space.target_names)
            assert parts is not None, "a template was read by this form"
            image, place = parts
            value = predictions[row_of[image], place]
            yield [space.targets[place][1][value] if space.task.kind == "targets" else write(value)]

    def read_answers(self, table: Table, competition: Competition, problems: ErrorCollector) -> Answers:
        """A label, or 0 and 1 of tags, of each line, put together by image."""
        space, column = competition.label_space, table.header[1]
        lines = dict(self._split_lines(table, unique_ids(table, problems), space.target_names, problems))
        cells = table.column(column)
        ids = list(dict.fromkeys(image for image, _ in lines.values()))
        row_of = {image: row for row, image in enumerate(ids)}
        labels = np.full((len(ids), len(space.target_names)), -1, np.int64)
        if space.task.kind == "tags":
            marks = read_marks(table, [column], problems)[:, 0]
            for line, (image, place) in lines.items():
                labels[row_of[image], place] = marks[line]
        for place, (target, names) in enumerate(space.targets):
            own = [line for line, (_, at) in lines.items() if at == place]
            found = read_labels_of_target(
                [cells[line] for line in own], target, names, _places(table, own, column), problems
            )
            for line, label in zip(own, found, strict=True):
                labels[row_of[lines[line][0]], place] = label
        for row in np.flatnonzero((labels < 0).any(axis=1))[:MOST_OF_A_KIND].tolist():
            problems.add(table.path, f"image {quote(ids[row])} lacks a line", "add it")
        first = {image: line for line, (image, _) in reversed(lines.items())}
        return Answers(ids, labels, [first[image] for image in ids])

    def check_cells(
        self, columns: Sequence[Sequence[str]], header: Sequence[str], space: LabelSpace
    ) -> Faults:
        """What is not a probability; of targets what is a label of none of them."""
        if space.task.kind == "tags":
            yield from faults_of_numbers(columns)
            return
        known = {label for _, labels in space.targets for label in labels}
        for row, text in enumerate(columns[0]):
            if text not in known:
                yield Fault(row, 0, f"{text!r} is not a label of any target")

    @classmethod
    def recognise(cls, table: Table, space: LabelSpace) -> RecognisedForm | None:
        """Two columns whose ids all end with a name."""
        if len(table.header) != 2 or not space.target_names:
            return None
        ids = table.column(table.header[0])
        for separator in ("_", "-", " ", ".", ":", "/"):
            form = cls(separator=separator)
            if all(form._parts(text, space.target_names) for text in ids):
                count = len(space.target_names)
                words = [
                    f"the submission has {count} lines per image, such as {ids[0]}: id, {separator!r}, name",
                    METRIC_IS_UNKNOWN,
                ]
                metric = "log_loss" if space.task.kind == "tags" else "macro_recall"
                return RecognisedForm({"name": "rows", "separator": separator}, metric, words)
        return None


def _places(table: Table, lines: Sequence[int], column: str) -> Any:
    return lambda position: table.where(lines[position], column)
