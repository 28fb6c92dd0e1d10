"""How a table says what is right for an image: one form of label cells each, shared by all readers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from softvote.config.registry import Registry
from softvote.data.csv_table import Table
from softvote.data.reader_configs import LabelledFiles, NamedImages
from softvote.data.readers.base import class_indices, look_up, quote, report_duplicates
from softvote.errors import MOST_OF_A_KIND, ErrorCollector

if TYPE_CHECKING:
    from softvote.config.competition import Competition


Groups = dict[str, NDArray[np.str_]]
"""What each row's other cells say, (N,), by the column's name."""


_WIDEST = 100  # characters of a cell that may name a group; longer ones are texts


_YES_OR_NO = {
    text: value for value, texts in enumerate(("0 0.0 no false", "1 1.0 yes true")) for text in texts.split()
}


@dataclass(frozen=True)
class LabelledRows:
    """What a table says of its images.

    Attributes:
        ids: of N images, in the table's order.
        positions: the record that says it first, int64 (N,).
        labels: int64 (N,), (N, K) or (N, T), as `TaskKind` has them.
        groups: of each image.
    """

    ids: list[str]
    positions: NDArray[np.int64]
    labels: NDArray[np.int64]
    groups: Groups


def read_row_labels(
    table: Table, place: str, competition: Competition, problems: ErrorCollector
) -> NDArray[np.int64] | None:
    """Labels of a table each of whose rows is an image; what is wrong is noted.

    Args:
        place: a column that stands for the row in messages.
    """
    files = competition.files
    assert isinstance(files, LabelledFiles), "readers of tables have keys for labels"
    form = label_form(files, competition)
    if form == "rows":
        problems.add(table.path, f"label_cells: rows is not for {files.format}", "take another")
        return None
    present = [table.has(name, problems) for name in label_columns(files, competition)]
    return CELL_READERS[form](_Cells(table, place, files, competition, problems)) if all(present) else None


def label_columns(files: LabelledFiles, competition: Competition) -> list[str]:
    """Names of the columns that hold labels."""
    if label_form(files, competition) == "columns":
        return list(competition.targets) if competition.targets else competition.classes
    return [files.label]


@dataclass(frozen=True)
class _Cells:
    """A table that is read, and by what."""

    table: Table
    id: str
    files: LabelledFiles
    competition: Competition
    problems: ErrorCollector

    def column(self, name: str) -> list[str]:
        """Cells with labels under the names that the competition gives them."""
        rename = self.files.rename
        return [rename.get(text, text) for text in self.table.column(name)]

    def where(self, column: str) -> Callable[[int], str]:
        return lambda position: self.table.where(position, column)


CellReader = Callable[[_Cells], NDArray[np.int64] | None]


CELL_READERS: Registry[CellReader] = Registry()
"""How each form of label cells is read where a row is an image; `rows` puts its rows together first."""


def read_labels(
    table: Table, id_name: str, competition: Competition, problems: ErrorCollector
) -> LabelledRows | None:
    """Read ids, labels and groups of a table; what is wrong is noted, and None where that hinders reading on.

    Args:
        id_name: the column of ids.
    """
    files = competition.files
    assert isinstance(files, LabelledFiles), "readers of tables have keys for labels"
    form = label_form(files, competition)
    cells = _Cells(table, id_name, files, competition, problems)
    wanted = [id_name, *label_columns(files, competition)]
    present = [table.has(name, problems) for name in wanted]
    if not all(present):
        return None
    if form == "rows":
        return _read_rows(cells)
    ids = table.column(id_name)
    report_duplicates(ids, cells.where(id_name), problems)
    labels = CELL_READERS[form](cells)
    if labels is None:
        return None
    positions = np.arange(len(ids))
    return LabelledRows(ids, positions, labels, _groups(cells, ids, positions, wanted))


def label_form(files: LabelledFiles, competition: Competition) -> str:
    """How the labels are written, also where the pipeline file does not say."""
    return files.label_cells or ("column" if competition.task.is_single_label else "columns")


def _column(cells: _Cells) -> NDArray[np.int64]:
    """One label a cell; of tags the one that is right."""
    name = cells.files.label
    index = class_indices(cells.column(name), cells.competition, cells.where(name), cells.problems)
    if cells.competition.tags is None:
        return index
    one_hot: NDArray[np.int64] = np.eye(len(cells.competition.classes), dtype=np.int64)[index]
    return one_hot


def _columns(cells: _Cells) -> NDArray[np.int64] | None:
    """0 or 1 per class or tag; a label per target."""
    competition = cells.competition
    if competition.targets:
        parts = [
            class_indices(cells.column(name), competition, cells.where(name), cells.problems, labels)
            for name, labels in competition.target_classes.items()
        ]
        return np.stack(parts, axis=1)
    parts = [
        yes_or_no(cells.table.column(name), cells.where(name), cells.problems) for name in competition.classes
    ]
    values = np.stack(parts, axis=1)
    if competition.tags is not None:
        return values
    for position in islice(np.flatnonzero(values.sum(axis=1) != 1).tolist(), MOST_OF_A_KIND):
        count = int(values[position].sum())
        what = f"{count} of the columns of classes hold 1" if count else "no column of a class holds 1"
        cells.problems.add(
            cells.table.where(position, cells.id),
            what,
            "it must be one; where several or none can be right, write competition.tags for labels",
        )
    classes: NDArray[np.int64] = values.argmax(axis=1)
    return classes


def _list(cells: _Cells) -> NDArray[np.int64] | None:
    """Tags with a separator between them."""
    competition, files = cells.competition, cells.files
    if competition.tags is None:
        cells.problems.add(
            cells.table.path, "label_cells: list goes with competition.tags", "write tags for labels"
        )
        return None
    index_of = {name: index for index, name in enumerate(competition.tags)}
    values = np.zeros((len(cells.table.records), len(index_of)), np.int64)
    texts, where, before = cells.table.column(files.label), cells.where(files.label), len(cells.problems)
    for position, text in enumerate(texts):
        if text == files.no_tags:
            continue
        tags = [files.rename.get(tag, tag) for tag in split_list(text, files.separator)]
        unknown = [tag for tag in tags if tag not in index_of]
        if not tags:
            cells.problems.add(where(position), "is empty", "if no tag is right, write files.no_tags: ''")
        if unknown:
            what = f"{quote(unknown[0])} is not one of competition.tags"
            cells.problems.add(where(position), what, "fix it, the tags or files.separator")
        values[position, [index_of[tag] for tag in tags if tag in index_of]] = 1
        if len(cells.problems) - before > MOST_OF_A_KIND:
            break
    return values


def split_list(text: str, separator: str) -> list[str]:
    """The parts of a list in a cell."""
    parts = text.split() if separator == " " else text.split(separator)
    return [part.strip() for part in parts if part.strip()]


CELL_READERS.add("column", _column)
CELL_READERS.add("columns", _columns)
CELL_READERS.add("list", _list)


def yes_or_no(
    texts: Sequence[str], where: Callable[[int], str], problems: ErrorCollector
) -> NDArray[np.int64]:
    """0 or 1, int64 (N,), of cells that say no or yes."""

    def wrong(text: str) -> str:
        return f"{quote(text)} is neither 0 nor 1; fix it" if text else "is empty; write 0 or 1"

    return look_up([text.lower() for text in texts], _YES_OR_NO, wrong, where, problems)


def split_row_id(text: str, names: Mapping[str, int]) -> tuple[str, int] | None:
    """The image's id and the index of the tag or target of a row's id; None where it ends in none of them."""
    for place in (match.start() for match in re.finditer("_", text)):  # the longest name first
        if (index := names.get(text[place + 1 :])) is not None:
            return text[:place], index
    return None


def _read_rows(cells: _Cells) -> LabelledRows | None:
    """A row for each tag or target of an image."""
    competition, label = cells.competition, cells.files.label
    if competition.task.is_single_label:
        what = "label_cells: rows goes with competition.tags or targets"
        cells.problems.add(cells.table.path, what, "write one of them for labels")
        return None
    names = {name: index for index, name in enumerate(competition.targets or competition.classes)}
    values = _row_values(cells, names)
    ids, positions = dict[str, int](), list[int]()
    found = np.full((len(cells.table.records) // len(names) + 1, len(names)), -1, np.int64)
    for position, text in enumerate(cells.table.column(cells.id)):
        parts = split_row_id(text, names)
        if parts is None:
            what = f"{quote(text)} does not end in _ and one of {', '.join(list(names)[:8])}"
            cells.problems.add(cells.table.where(position, cells.id), what, "fix it")
            if len(cells.problems) > MOST_OF_A_KIND:
                return None
            continue
        name, column = parts
        row = ids.setdefault(name, len(ids))
        if row == len(positions):
            positions.append(position)
        if row == len(found):
            found = np.concatenate([found, np.full_like(found, -1)])
        if found[row, column] not in (-1, values[position]):
            where = cells.table.where(position, label)
            cells.problems.add(where, f"{quote(text)} appears above with another label", "drop one")
        found[row, column] = values[position]
    found = found[: len(ids)]
    _report_gaps(cells, list(ids), list(names), found, positions)
    first = np.array(positions, np.int64)
    groups = _groups(cells, list(ids), first, [cells.id, label])
    return LabelledRows(list(ids), first, np.maximum(found, 0), groups)


def _row_values(cells: _Cells, names: Mapping[str, int]) -> NDArray[np.int64]:
    """The value of each row, int64: 0 or 1 of a tag, the index of a target's label."""
    label, classes = cells.files.label, cells.competition.target_classes
    if not classes:
        return yes_or_no(cells.table.column(label), cells.where(label), cells.problems)
    texts, values = cells.column(label), np.zeros(len(cells.table.records), np.int64)
    of_row = [split_row_id(text, names) for text in cells.table.column(cells.id)]
    for column, labels in enumerate(classes.values()):
        rows = [position for position, parts in enumerate(of_row) if parts and parts[1] == column]

        def where(index: int, rows: list[int] = rows) -> str:
            return cells.table.where(rows[index], label)

        some = [texts[row] for row in rows]
        values[rows] = class_indices(some, cells.competition, where, cells.problems, labels)
    return values


def _report_gaps(
    cells: _Cells, ids: list[str], names: list[str], found: NDArray[np.int64], positions: list[int]
) -> None:
    for row in np.flatnonzero((found < 0).any(axis=1))[:MOST_OF_A_KIND].tolist():
        missing = names[int(np.argmax(found[row] < 0))]
        cells.problems.add(
            cells.table.where(positions[row], cells.id),
            f"image {quote(ids[row])} has no row for {missing}",
            "add it",
        )


def _groups(cells: _Cells, ids: list[str], positions: NDArray[np.int64], others: Sequence[str]) -> Groups:
    """Every column that is neither id nor label, and what the ids tell."""
    groups: Groups = {}
    for name in cells.table.header:
        if name in others or name in groups:
            continue
        column = np.array(cells.table.column(name), np.str_)[positions]
        if column.dtype.itemsize // 4 <= _WIDEST:
            groups[name] = column
    places = [int(position) for position in positions]
    return groups | groups_of_ids(
        ids, cells.files, lambda row: cells.table.where(places[row], cells.id), cells.problems
    )


def groups_of_ids(
    ids: Sequence[str], files: NamedImages, where: Callable[[int], str], problems: ErrorCollector
) -> Groups:
    """What `files.groups` finds in ids; those that it does not fit are noted."""
    groups: Groups = {}
    for name, expression in files.groups.items():
        found = [re.search(expression, text) for text in ids]
        for position in islice((place for place, match in enumerate(found) if not match), MOST_OF_A_KIND):
            what = f"{quote(ids[position])} does not fit files.groups.{name} ({expression})"
            problems.add(where(position), what, "fix one")
        groups[name] = np.array([(match[1] or "") if match else "" for match in found], np.str_)
    return groups
