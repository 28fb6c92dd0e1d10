"""The images that the sample submission lists: what the test images are, and their order."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from softvote.data.csv_table import open_table
from softvote.data.label_cells import split_row_id
from softvote.data.readers.base import report_duplicates
from softvote.errors import ErrorCollector

if TYPE_CHECKING:
    from softvote.config.competition import Competition


@dataclass(frozen=True)
class SampleIds:
    """Ids of T images, and where the sample submission names each first."""

    ids: list[str]
    places: list[str]


def read_sample_ids(path: Path, competition: Competition) -> SampleIds:
    """Ids of images in the order of the sample submission; of a row for each tag or target once.

    Raises:
        UserError: the file cannot be read, or ids are empty or stand twice, one line each.
    """
    problems = ErrorCollector()
    table = open_table(path, problems)
    problems.raise_any()
    assert table, "a file that cannot be read has a problem"
    column = table.header[0]
    ids = table.column(column)
    report_duplicates(ids, lambda position: table.where(position, column), problems)
    problems.raise_any()
    places = [table.where(position, column) for position in range(len(ids))]
    if not competition.task.is_single_label and len(table.header) == 2:
        names = dict.fromkeys(competition.targets or competition.classes, 0)
        parts = [split_row_id(text, names) for text in ids]
        if ids and all(parts):
            first = dict[str, str]()
            for part, place in zip(parts, places, strict=True):
                assert part
                first.setdefault(part[0], place)
            return SampleIds(list(first), list(first.values()))
    return SampleIds(ids, places)
