"""Submission files: built, read again as a stranger would, and only then put in place."""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from softvote.config.competition import Competition
from softvote.data.forms import Form, SubmissionTemplate, as_form
from softvote.errors import ErrorCollector, UserError, cell
from softvote.metrics import PredictedArray
from softvote.storage.files import write_text
from softvote.storage.paths import Workspace
from softvote.task import LabelSpace
from softvote.words import counted

Records = list[list[str]]


@dataclass(frozen=True)
class SubmissionFormat:
    """All that says what a submission has to look like.

    Attributes:
        form: how predictions are written.
        template: header and ids of the sample submission.
        space: the labels there are.
    """

    form: Form
    template: SubmissionTemplate
    space: LabelSpace

    @classmethod
    def of(cls, competition: Competition, template: SubmissionTemplate) -> SubmissionFormat:
        """What a competition asks for."""
        return cls(as_form(competition.submission_form), template, competition.label_space)


def submission_text(wanted: SubmissionFormat, predictions: PredictedArray) -> str:
    """CSV with a header and the lines that the form makes, quoted where needed, ending in a line feed.

    Args:
        predictions: of the T test images, in what the form takes.

    Raises:
        ValueError: not one prediction an image.
    """
    template = wanted.template
    if len(predictions) != len(template.ids):
        raise ValueError(f"{len(predictions)} predictions for {len(template.ids)} images")
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(template.header)
    lines = wanted.form.lines(template, predictions, wanted.space)
    cells_of = dict(zip(template.line_ids, lines, strict=True))
    writer.writerows([name, *cells_of[name]] for name in template.written_ids)
    return buffer.getvalue()


def check_submission(path_or_text: Path | str, wanted: SubmissionFormat, name: str) -> None:
    """Read a submission as the competition would and compare it with what the competition asks for.

    Args:
        path_or_text: a file, or what one would hold.
        wanted: header, ids in their order, and what may stand in cells.
        name: what the submission is called in messages.

    Raises:
        UserError: every problem found, each with its row (of the file, from 1) and column.
    """
    records, header, ids = _records(path_or_text, name), wanted.template.header, wanted.template.written_ids
    problems = ErrorCollector()
    if tuple(records[0]) != header:
        problems.add(f"{name}, row 1", f"the header is {','.join(records[0])!r}, not {','.join(header)!r}")
    if len(records) - 1 != len(ids):
        problems.add(name, f"{counted(len(records) - 1, 'row')} under the header, not {len(ids)}")
    _check_shape(records, len(header), problems, name)
    _check_ids(records, ids, problems, name, header[0])
    _check_cells(records, wanted, problems, name)
    problems.raise_any()


def write_submission_file(workspace: Workspace, pipeline: str, text: str, wanted: SubmissionFormat) -> Path:
    """Check a submission and write it whole under the name its content gives it.

    The same text is the same file, and another text never replaces it.

    Returns:
        `submissions/<pipeline>-<first 8 digits of the sha256>.csv`.

    Raises:
        UserError: the text is not a submission (then nothing is written), or the file cannot be written.
    """
    path = workspace.submission(pipeline, hashlib.sha256(text.encode()).hexdigest())
    check_submission(text, wanted, path.name)
    write_text(path, text)
    return path


def _records(path_or_text: Path | str, name: str) -> Records:
    try:
        text = path_or_text if isinstance(path_or_text, str) else path_or_text.read_bytes().decode()
        records = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except OSError as error:
        raise UserError.at(name, f"cannot be read ({error.strerror})") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError.at(name, f"is not CSV in UTF-8 ({error})", "build it again") from None
    if not records:
        raise UserError.at(name, "is empty", "build it again")
    return records


def _check_shape(records: Records, columns: int, problems: ErrorCollector, name: str) -> None:
    for row, record in enumerate(records[1:], start=2):
        if len(record) != columns:
            problems.add(f"{name}, row {row}", f"{counted(len(record), 'column')}, not {columns}")


def _check_ids(
    records: Records, ids: Sequence[str], problems: ErrorCollector, name: str, column: str
) -> None:
    expected, first_seen, seen = Counter(ids), dict[str, int](), Counter[str]()
    for row, record in enumerate(records[1:], start=2):
        if not record:
            continue
        found = record[0]
        seen[found] += 1
        if seen[found] > max(1, expected[found]):
            problems.add(cell(name, row, column), f"id {found!r} is already in row {first_seen[found]}")
        elif found not in expected:
            problems.add(cell(name, row, column), f"id {found!r} is not in the sample submission")
        first_seen.setdefault(found, row)
    for missing in (known for known in ids if known not in first_seen):
        problems.add(f"{name}, column {column}", f"id {missing!r} is missing")
    # One missing or foreign id shifts all below it: order means something only when all ids are there.
    if len(records) - 1 == len(ids) and seen == expected:
        _check_order([record[0] for record in records[1:]], ids, problems, name, column)


def _check_order(
    found: list[str], ids: Sequence[str], problems: ErrorCollector, name: str, column: str
) -> None:
    for row, (here, wanted) in enumerate(zip(found, ids, strict=True), start=2):
        if here != wanted:
            where = cell(name, row, column)
            problems.add(where, f"id {here!r} stands where the sample submission has {wanted!r}")
            return


def _check_cells(records: Records, wanted: SubmissionFormat, problems: ErrorCollector, name: str) -> None:
    header = wanted.template.header[1:]
    whole = [row for row, record in enumerate(records) if row and len(record) == len(header) + 1]
    columns = [[records[row][place] for row in whole] for place in range(1, len(header) + 1)]
    for fault in wanted.form.check_cells(columns, header, wanted.space) if whole else ():
        where = cell(name, whole[fault.row] + 1, header[fault.column])
        problems.add(where, fault.what, fault.hint)
