"""Submission files: built, read again as a stranger would, and only then put in place."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

from softvote.errors import ErrorCollector, UserError, cell, one_of
from softvote.storage.files import write_text
from softvote.storage.paths import Workspace

Records = list[list[str]]


def submission_text(header: tuple[str, str], ids: Sequence[str], labels: Sequence[str]) -> str:
    """CSV with a header and one line an id, quoted where needed, lines ending in a line feed.

    Args:
        header: names of the id and label columns.
        ids: as the sample submission has them, in its order.
        labels: one an id.

    Raises:
        ValueError: not one label an id.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(zip(ids, labels, strict=True))
    return buffer.getvalue()


def check_submission(
    path_or_text: Path | str, header: tuple[str, str], ids: Sequence[str], classes: Sequence[str], name: str
) -> None:
    """Read a submission as the competition would and compare it with what the competition asks for.

    Args:
        path_or_text: a file, or what one would hold.
        header: names of the id and label columns.
        ids: every id once, in the order of the sample submission.
        classes: the labels that exist, as they are written.
        name: what the submission is called in messages.

    Raises:
        UserError: every problem found, each with its row (of the file, from 1) and column.
    """
    records = _records(path_or_text, name)
    problems = ErrorCollector()
    if tuple(records[0]) != header:
        problems.add(f"{name}, row 1", f"the header is {','.join(records[0])!r}, not {','.join(header)!r}")
    if len(records) - 1 != len(ids):
        problems.add(name, f"{len(records) - 1} rows under the header, not {len(ids)}")
    _check_shape(records, problems, name)
    _check_ids(records, ids, problems, name, header[0])
    _check_labels(records, classes, problems, name, header[1])
    problems.raise_any()


def write_submission_file(
    workspace: Workspace,
    pipeline: str,
    text: str,
    header: tuple[str, str],
    ids: Sequence[str],
    classes: Sequence[str],
) -> Path:
    """Check a submission and write it whole under the name its content gives it.

    The same text is the same file, and another text never replaces it.

    Returns:
        `submissions/<pipeline>-<first 8 digits of the sha256>.csv`.

    Raises:
        UserError: the text is no submission (then nothing is written), or the file cannot be written.
    """
    path = workspace.submission(pipeline, hashlib.sha256(text.encode()).hexdigest())
    check_submission(text, header, ids, classes, path.name)
    write_text(path, text)
    return path


def _records(path_or_text: Path | str, name: str) -> Records:
    try:
        text = path_or_text if isinstance(path_or_text, str) else path_or_text.read_bytes().decode()
        records = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except OSError as error:
        raise UserError.at(name, f"cannot be read ({error.strerror})") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError.at(name, f"is no CSV in UTF-8 ({error})", "build it again") from None
    if not records:
        raise UserError.at(name, "is empty", "build it again")
    return records


def _check_shape(records: Records, problems: ErrorCollector, name: str) -> None:
    for row, record in enumerate(records[1:], start=2):
        if len(record) != 2:
            problems.add(f"{name}, row {row}", f"{len(record)} columns, not 2")


def _check_ids(
    records: Records, ids: Sequence[str], problems: ErrorCollector, name: str, column: str
) -> None:
    expected, first_seen = set(ids), dict[str, int]()
    for row, record in enumerate(records[1:], start=2):
        if not record:
            continue
        found = record[0]
        if found in first_seen:
            problems.add(cell(name, row, column), f"id {found!r} is already in row {first_seen[found]}")
        elif found not in expected:
            problems.add(cell(name, row, column), f"id {found!r} is not in the sample submission")
        first_seen.setdefault(found, row)
    for missing in (known for known in ids if known not in first_seen):
        problems.add(f"{name}, column {column}", f"id {missing!r} is missing")
    # One missing or foreign id shifts all below it: order means something only when all ids are there.
    if len(records) - 1 == len(ids) and first_seen.keys() == expected:
        _check_order(list(first_seen), ids, problems, name, column)


def _check_order(
    found: list[str], ids: Sequence[str], problems: ErrorCollector, name: str, column: str
) -> None:
    for row, (here, wanted) in enumerate(zip(found, ids, strict=True), start=2):
        if here != wanted:
            where = cell(name, row, column)
            problems.add(where, f"id {here!r} stands where the sample submission has {wanted!r}")
            return


def _check_labels(
    records: Records, classes: Sequence[str], problems: ErrorCollector, name: str, column: str
) -> None:
    known, whole_numbers = set(classes), all(map(_is_integer, classes))
    for row, record in enumerate(records[1:], start=2):
        if len(record) > 1 and record[1] not in known:
            problems.add(cell(name, row, column), *_label_problem(record[1], list(classes), whole_numbers))


def _label_problem(label: str, classes: list[str], whole_numbers: bool) -> tuple[str, str]:
    """What is wrong, and what to do."""
    if not label:
        return "the label is empty", ""
    if not whole_numbers:
        return f"label {label!r} is no class", one_of(classes, label)
    if not _is_integer(label):
        how = f"write {classes[0]} to {classes[-1]} without point or sign"
        return f"label {label!r} is not an integer", how
    return f"label {label!r} is not one of {classes[0]}..{classes[-1]}", ""


def _is_integer(text: str) -> bool:
    return text.removeprefix("-").isdecimal() and text.isascii()
