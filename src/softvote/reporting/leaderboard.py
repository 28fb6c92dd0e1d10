"""The leaderboard beside cross-validation, as a table and as a picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any

from softvote.reporting.plots import Point, cross_validation_against_leaderboard
from softvote.reporting.tables import render
from softvote.tracking.comparison import FEWEST_RANKED, LeaderboardComparison, LeaderboardRow
from softvote.tracking.ledger import TRANSDUCTIVE, Entry
from softvote.words import counted

_LONGEST = 60  # letters of a name beside its point; settings can be many


def render_board(comparisons: Sequence[LeaderboardComparison]) -> str:
    """A table per competition, and under it what its ranks have in common; ends in a line end."""
    if not comparisons:
        return "nothing to show: the ledger has no submission yet; build one with `submit`\n"
    legend = "± is one standard error; up to two of them from 0 is what chance explains\n"
    if any(row.entry.expected for comparison in comparisons for row in comparison.rows):
        legend += "expected is CV, and what the networks of all folds gain together; in old rows CV alone\n"
    return "\n".join([*map(_table, comparisons), legend])


def _table(comparison: LeaderboardComparison) -> str:
    scored_by = "" if comparison.metric.name == "accuracy" else f", {comparison.metric.title}"
    lines = [f"{comparison.competition}{scored_by}\n"]
    if comparison.rows:
        lines += [_without_empty_columns(comparison), _about_ranks(comparison)]
    if comparison.note:
        lines.append(f"{comparison.note}\n")
    if comparison.unknown:
        lines.append(
            f"{counted(comparison.unknown, 'submission')} on the leaderboard of no file in the ledger\n"
        )
    return "".join(lines)


def _without_empty_columns(comparison: LeaderboardComparison) -> str:
    theirs = "solution" if _is_solved(comparison) else "public"
    header = ["pipeline", "voter", "file", "CV", "expected", theirs, "private"]
    foretold = "expected" if any(row.entry.expected for row in comparison.rows) else "CV"
    header += [f"{theirs} - {foretold}", "which is"]
    header += ["CV rank", f"{theirs} rank", "status"]
    files = _tell_apart(comparison.rows, lambda entry: (_name(entry), entry.ensemble))
    cells = [_cells(row, file) for row, file in zip(comparison.rows, files, strict=True)]
    columns = zip(header, *cells, strict=True)
    kept, *lines = zip(*(column for column in columns if any(column[1:])), strict=True)
    return render(kept, lines)


def _is_solved(comparison: LeaderboardComparison) -> bool:
    """Whether its scores were made here."""
    return bool(comparison.scored) and all(row.public is None for row in comparison.scored)


def _tell_apart(rows: Sequence[LeaderboardRow], name: Callable[[Entry], object]) -> list[str]:
    """The first digits of each row's sha256 where others have the same name; else nothing."""
    several = Counter(name(row.entry) for row in rows)
    return [row.entry.sha256[:8] if several[name(row.entry)] > 1 else "" for row in rows]


def _cells(row: LeaderboardRow, file: str) -> list[str]:
    values: list[Any] = [
        row.cv,
        row.entry.expected,
        row.leaderboard,
        row.private,
        row.difference,
        row.verdict,
    ]
    values += [row.cv_rank, row.leaderboard_rank, row.status]
    names = [_name(row.entry), row.entry.voter, file]
    return [*names, *("" if value is None else str(value) for value in values)]


def _name(entry: Entry) -> str:
    return " ".join([entry.pipeline, *entry.settings])


def _about_ranks(comparison: LeaderboardComparison) -> str:
    rows = counted(len(comparison.scored), "scored row")
    if len(comparison.scored) < FEWEST_RANKED:
        return f"{rows}, too few for a rank correlation\n"
    if comparison.rank_correlation is None:
        return f"no rank correlation of {rows}: the scores are all alike\n"
    return f"rank correlation (Spearman) {comparison.rank_correlation:+.2f}, of {rows}\n"


def draw_board(path: Path, comparisons: Sequence[LeaderboardComparison]) -> bool:
    """Draw the scored rows, a panel per competition, as PNG.

    Returns:
        Whether there were any.

    Raises:
        UserError: the file cannot be written.
    """
    panels = {_heading(each): _points(each.scored) for each in comparisons if each.scored}
    if panels:
        cross_validation_against_leaderboard(path, panels)
    return bool(panels)


def _heading(comparison: LeaderboardComparison) -> str:
    return f"{comparison.competition}{', solution.csv' if _is_solved(comparison) else ''}"


def _points(rows: Sequence[LeaderboardRow]) -> list[Point]:
    """Named by their pipelines, and where those have several, by their voters and files too."""
    scored = [row for row in rows if row.leaderboard is not None]
    several = Counter(_name(row.entry) for row in scored)
    files = _tell_apart(scored, lambda entry: (_name(entry), entry.ensemble))
    points = []
    for row, file in zip(scored, files, strict=True):
        name, score = _name(row.entry), row.leaderboard
        if several[name] > 1:
            name = ", ".join(filter(None, [name, row.entry.voter, file]))
        elif row.entry.is_transductive:
            name = f"{name}, {TRANSDUCTIVE}"
        if score is not None:
            name = shorten(name, _LONGEST, placeholder=" ...")
            metric = row.entry.scored_by
            title = "" if metric.name == "accuracy" else metric.title
            points.append(Point(name, row.cv, score, row.verdict == "chance", title))
    return points
