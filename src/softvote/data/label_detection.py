"""Which columns of a table hold labels, and what they mean; the sample submission decides first."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from softvote.data.csv_table import Table
from softvote.data.label_cells import split_list, split_row_id
from softvote.data.readers.detection import Candidate, is_unnamed
from softvote.errors import ErrorCollector, UserError
from softvote.words import counted

LABEL_NAMES = (
    "label", "labels", "class", "target", "category", "digit", "sum", "y", "tags", "species", "breed",
    "diagnosis", "level", "grade", "class_name", "classname", "class_id", "label_id",
)  # fmt: skip


_GROUP_WORDS = (
    "patient", "subject", "driver", "person", "individual", "participant", "writer", "user", "speaker",
    "lesion", "group", "slide", "case", "study", "series", "site", "session", "camera",
)  # fmt: skip


_FOLD_NAMES = ("fold", "folds", "kfold", "k_fold", "fold_id", "cv_fold")


_EYES = r"^(.+)_(?:left|right)$"


class NoLabelError(UserError):
    """A table in which nothing looks like labels."""


@dataclass
class DetectedLabels:
    """What a table says.

    Attributes:
        files: keys of `competition.files`.
        competition: `labels`, `tags` or `targets`, as a pipeline file has them.
        columns: the table's columns that hold labels.
        notes: what was taken for what.
    """

    files: dict[str, Any] = field(default_factory=dict)
    competition: dict[str, Any] = field(default_factory=dict)
    columns: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def detect_labels(
    table: Table,
    id_name: str,
    candidate: Candidate,
    is_rows: bool = False,
    among: Sequence[str] | None = None,
) -> DetectedLabels:
    """Find the labels of a table.

    Args:
        id_name: the column of ids.
        is_rows: whether an image has several rows, whose ids end in a tag.
        among: the columns that can hold labels; if omitted, all but the id.

    Raises:
        UserError: nothing looks like labels, or a label is empty.
    """
    columns = [name for name in table.header if name != id_name and not is_unnamed(name)]
    columns = [name for name in columns if among is None or name in among]
    if is_rows:
        return _tags_in_rows(table, id_name, columns)
    wanted = candidate.sample_columns
    targets = _targets(columns, candidate)
    if targets:
        return _targets_in_columns(table, targets)
    if len(wanted) > 1 and set(wanted) <= set(columns):
        return _marks_in_columns(table, wanted)
    name, note = _label_column(table, columns, wanted)
    found = _labels_in_column(table, name, wanted if len(wanted) > 1 else [])
    found.notes.insert(0, note)
    return found


def _targets(columns: Sequence[str], candidate: Candidate) -> list[str]:
    """Columns that are the ends of the sample's ids: a row per target."""
    ids = candidate.sample_ids
    names = {name: 0 for name in columns if ids and any(text.endswith(f"_{name}") for text in ids[:100])}
    every = all(split_row_id(text, names) for text in ids[:100])
    return [name for name in columns if name in names] if every else []


def _targets_in_columns(table: Table, names: Sequence[str]) -> DetectedLabels:
    cells = {name: _check_filled(table, name) for name in names}
    if all(set(values) <= {"0", "1"} for values in cells.values()):
        return _marks_in_columns(table, names)
    targets = {name: labels_of(values, f"{table.path}, column {name}") for name, values in cells.items()}
    shown = ", ".join(f"{name} ({len(set(cells[name]))})" for name in names)
    note = f"{table.path.name}: a column for each of {counted(len(names), 'target')}: {shown}"
    return DetectedLabels({}, {"targets": targets}, list(names), [note])


def _marks_in_columns(table: Table, names: Sequence[str]) -> DetectedLabels:
    """0 and 1 in a column for each class or tag."""
    cells = [_check_filled(table, name) for name in names]
    marks = {"0": 0, "1": 1, "0.0": 0, "1.0": 1}
    for name, column in zip(names, cells, strict=True):
        for position, text in enumerate(column):
            if text not in marks:
                raise UserError.at(
                    table.where(position, name), f"'{text}' is neither 0 nor 1", "write the pipeline by hand"
                )
    sums = {sum(marks[text] for text in row) for row in zip(*cells, strict=True)}
    shown = f"{table.path.name}: columns {names[0]}..{names[-1]} of 0 and 1"
    if sums == {1}:
        note = (
            f"{shown}, one 1 in every row: {len(names)} classes, of which one is right; if several can be, "
        )
        return DetectedLabels(
            {"label_cells": "columns"}, {"labels": list(names)}, list(names), [f"{note}write tags"]
        )
    note = f"{shown}, {min(sums)} to {max(sums)} of them 1 in a row: {counted(len(names), 'tag')}"
    return DetectedLabels({}, {"tags": list(names)}, list(names), [note])


def _tags_in_rows(table: Table, id_name: str, columns: Sequence[str]) -> DetectedLabels:
    ids = table.column(id_name)
    image = row_image(ids[0])
    names = list(dict.fromkeys(text.rpartition("_")[2] for text in ids))
    if len(columns) != 1:
        raise _no_label(table, columns)
    each = f"each of {counted(len(names), 'tag')} of an image"
    note = f"{table.path.name}: a row for {each}, as {ids[0]} of {image}"
    files = {"label": columns[0], "label_cells": "rows"}
    return DetectedLabels(files, {"tags": names}, list(columns), [note])


def row_image(text: str) -> str:
    """The image of a row's id such as ID_1_any."""
    return text.rpartition("_")[0]


def _label_column(table: Table, columns: Sequence[str], wanted: Sequence[str]) -> tuple[str, str]:
    """The column of labels, and why it was taken."""
    if len(wanted) == 1 and wanted[0] in columns:
        return wanted[0], f"label: column {wanted[0]} of {table.path.name}, as the sample submission calls it"
    for name in columns if len(wanted) > 1 else []:
        values = set(table.column(name))
        if values <= set(wanted) and len(values) > 1:
            return name, f"label: column {name} of {table.path.name}; its labels are the sample's columns"
    columns = [name for name in columns if not set(_words(name)) & set(_GROUP_WORDS)] or columns
    usual = [name for name in columns if name.lower() in LABEL_NAMES]
    if len(usual) > 1:
        usual.sort(key=lambda name: LABEL_NAMES.index(name.lower()))
    is_group = len(columns) == 1 and bool(set(_words(columns[0])) & set(_GROUP_WORDS))
    if usual or (len(columns) == 1 and not is_group):
        name = (usual or columns)[0]
        others = [other for other in columns if other != name]
        more = f"; other columns: {', '.join(others[:8])}" if others else ""
        return name, f"label: column {name} of {table.path.name}{more}"
    raise _no_label(table, columns)


def _no_label(table: Table, columns: Sequence[str]) -> NoLabelError:
    what = f"no column looks like the label ({', '.join(LABEL_NAMES)})"
    if columns:
        what += f", and it may be any of {', '.join(columns[:8])}"
    return NoLabelError.at(f"{table.path}, row 1", what, "write the pipeline by hand")


def _labels_in_column(table: Table, name: str, order: Sequence[str]) -> DetectedLabels:
    """One label a cell, or a list of tags.

    Args:
        order: of the classes, as the sample has them; empty where it has none.
    """
    texts = _check_filled(table, name)
    separator = _separator(texts)
    if separator and not order:
        return _tags_in_lists(table, name, texts, separator)
    notes = spelling_notes(texts, f"column {name} of {table.path.name}")
    files: dict[str, Any] = {"label": name}
    if not order and all(re.fullmatch("-?[0-9]+[.]0", text) for text in texts):
        files["rename"] = {text: text[:-2] for text in sorted(set(texts))}
        notes.append(f"labels such as {texts[0]} are read as whole numbers (files.rename)")
        texts = [text[:-2] for text in texts]
    if order:
        without = [label for label in order if label not in set(texts)]
        notes += [f"no training image is of class {', '.join(without[:8])}"] if without else []
        return DetectedLabels({"label": name}, {"labels": list(order)}, [name], notes)
    return DetectedLabels(files, {"labels": labels_of(texts, f"{table.path}, column {name}")}, [name], notes)


def _tags_in_lists(table: Table, name: str, texts: Sequence[str], separator: str) -> DetectedLabels:
    tags = sorted({tag for text in texts for tag in split_list(text, separator)}, key=natural_order)
    files = {"label": name, "label_cells": "list"} | ({"separator": separator} if separator != " " else {})
    example = max(texts, key=lambda text: len(split_list(text, separator)))
    note = f"column {name} of {table.path.name} holds lists, as '{example}': {counted(len(tags), 'tag')}"
    return DetectedLabels(files, {"tags": tags}, [name], [note])


def _separator(texts: Sequence[str]) -> str | None:
    """What stands between the tags of lists; None where cells are single labels.

    Lists are made of few words in many ways, some longer than others; names of several words are not.
    """
    cells = set(texts)
    for separator in (" ", "|", ";", ","):
        parts = [split_list(text, separator) for text in cells]
        several = [part for part in parts if len(part) > 1]
        count = Counter(word for part in parts for word in set(part))
        words = {word for part in several for word in part}
        alone = any(part[0] in words for part in parts if len(part) == 1)
        again = sum(1 for word in words if count[word] > 1)
        in_many_ways = alone or len({len(part) for part in several}) > 1
        if several and 2 * again >= len(words) and len(count) <= len(cells) and in_many_ways:
            return separator
    return None


def _check_filled(table: Table, name: str) -> list[str]:
    """A column without empty cells.

    Raises:
        UserError: some are empty, one line each.
    """
    problems, texts = ErrorCollector(), table.column(name)
    for position, text in enumerate(texts):
        if not text:
            problems.add(table.where(position, name), "is empty", "write the label, or drop the row")
    problems.raise_any()
    return texts


def labels_of(labels: Iterable[str], where: str) -> dict[str, int] | list[str]:
    """A range where nearly every integer in it occurs (a rare sum may not), else the names.

    Args:
        where: what holds them, for messages.

    Raises:
        UserError: they are all one.
    """
    names = sorted({label.strip() for label in labels}, key=natural_order)
    if len(names) < 2:
        what = f"the train labels are all '{''.join(names)}'"
        raise UserError.at(where, what, "at least two are needed; fix the labels")
    if all(re.fullmatch("0|-?[1-9][0-9]{0,8}", name) for name in names):
        numbers = sorted(map(int, names))
        if len(numbers) >= 0.9 * (numbers[-1] - numbers[0] + 1):
            return {"first": numbers[0], "last": numbers[-1]}
        return [str(number) for number in numbers]
    return sorted(names)


def natural_order(text: str) -> tuple[int, int, str]:
    """Numbers by their value, before words."""
    return (0, int(text), "") if re.fullmatch("-?[0-9]{1,9}", text) else (1, 0, text)


_MISSING = ("nan", "null")  # what pandas and numpy, or a database, write where there is nothing


def spelling_notes(labels: Iterable[str], where: str) -> list[str]:
    """What is to be said of labels that differ in capitals and blanks alone, or may stand for none."""
    counts, alike = Counter(labels), defaultdict(list)
    for name in counts:
        alike[re.sub(r"[\s_-]+", "", name).casefold()].append(name)
    notes = [
        f"{where}: {' and '.join(f'{name!r} ({counts[name]:,})' for name in names)} are treated as different "
        "classes; if they are one, write files.rename"
        for names in alike.values()
        if len(names) > 1
    ]
    return notes + [
        f"{where}: {name!r} ({counts[name]:,}) is read as a class; where it stands for none, fix the row"
        for name in counts
        if name.casefold() in _MISSING
    ]


def detect_groups(
    table: Table, taken: Sequence[str], ids: Sequence[str]
) -> tuple[dict[str, Any], dict[str, str], list[str]]:
    """Keys of `folds`, those of `files.groups`, and why: columns that look like patients or like folds.

    Args:
        taken: columns with another meaning.
        ids: of the images, which may tell groups too.
    """
    columns = [name for name in table.header if name not in taken and not is_unnamed(name)]
    for name in columns:
        values = set(table.column(name)) if name.lower() in _FOLD_NAMES else set()
        if 2 <= len(values) <= 20 and all(value.isdecimal() for value in values):
            note = f"folds: column {name} of {table.path.name} has {len(values)} values and is read as folds"
            return {"count": len(values), "column": name}, {}, [note]
    for word in _GROUP_WORDS:
        for name in columns:
            values = set(table.column(name)) if word in _words(name) else set()
            if 1 < len(values) < len(table.records):
                count = f"{len(values):,} values in {len(table.records):,} rows"
                return {"group": name}, {}, [f"folds: rows of one {name} stay together ({count})"]
    if ids and all(re.search(_EYES, text) for text in ids):
        note = f"folds: left and right of one id, as {ids[0]}, are treated as one patient's and stay together"
        return {"group": "patient"}, {"patient": _EYES}, [note]
    return {}, {}, _notes_of_others(table, columns)


def _notes_of_others(table: Table, columns: Sequence[str]) -> list[str]:
    """What is to be said of columns that nothing reads and whose values repeat, as those of a group do."""
    counts = {name: len(set(table.column(name))) for name in columns}
    rows = len(table.records)
    repeated = [f"{name} ({count:,} values)" for name, count in counts.items() if 1 < count < rows]
    if not repeated:
        return []
    shown = ", ".join(repeated[:8]) + (", ..." if len(repeated) > 8 else "")
    return [
        f"further columns of {table.path.name} are not read: {shown}; where rows of one value belong "
        "together, name it as folds.group"
    ]


def _words(name: str) -> list[str]:
    """The words of a column's name: PatientID, patient_id."""
    return re.findall("[a-z]+", re.sub("([a-z])([A-Z])", r"\1_\2", name).lower().replace("_", " "))
