"""Every past submission as Kaggle reported it: submissions/leaderboard.csv."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import get_args

from softvote.kaggle.competitions import Status, Submission
from softvote.storage.csv_store import CellParser, CsvSchema, format_cell, optional, parse_finite
from softvote.storage.locks import file_lock
from softvote.tracking.comparison import recency


def _status(text: str) -> str:
    if text not in get_args(Status):
        raise ValueError(text)
    return text


LEADERBOARD_COLUMNS = ["competition", *(column.name for column in fields(Submission))]


_READERS: dict[str, CellParser] = {
    "ref": int,
    "status": _status,
    "public": optional(parse_finite),
    "private": optional(parse_finite),
}


_FORM = CsvSchema(
    {column: _READERS.get(column, str) for column in LEADERBOARD_COLUMNS},
    remedy="fix it, or take it away and fetch it again: `leaderboard`",
)


def read_leaderboard(path: Path) -> list[tuple[str, Submission]]:
    """Each submission with its competition, the newest of a competition first; none where there is no file.

    Raises:
        UserError: the file is damaged: every problem with its row and column.
    """
    read = [_FORM.values(record) for record in _FORM.read(path)]
    return [(values.pop("competition"), Submission(**values)) for values in read]


def write_leaderboard(path: Path, competition: str, submissions: Sequence[Submission]) -> list[int]:
    """Put a competition's submissions in the place of those that the file has of it.

    What it knows of others stays, of other competitions and of this one: another account of Kaggle lists only
    its own.

    Args:
        competition: its name in the ledger.
        submissions: all of them, in any order; one that two pages list counts once.

    Returns:
        The numbers of this competition's submissions that were known and are not among these, in their order.

    Raises:
        UserError: a damaged file (then it is left as it is), or one that cannot be written.
    """
    fetched = {submission.ref: submission for submission in submissions}
    with file_lock(path):
        known = read_leaderboard(path)
        others = [(name, old) for name, old in known if name != competition or old.ref not in fetched]
        board = [*others, *((competition, new) for new in fetched.values())]
        board.sort(key=lambda row: recency(row[1]), reverse=True)
        board.sort(key=lambda row: row[0])
        records = [
            {column: format_cell(value) for column, value in ({"competition": name} | vars(each)).items()}
            for name, each in board
        ]
        _FORM.write(path, records)
    return sorted(old.ref for name, old in others if name == competition)
