"""Leaderboard: what Kaggle says of past submissions, beside what cross-validation said of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from softvote.config.competition import Competition
from softvote.errors import Problem, UserError
from softvote.kaggle.competitions import Competitions
from softvote.reporting.leaderboard import draw_board, render_board
from softvote.stages import Report, ignore, open_run
from softvote.storage.paths import Workspace
from softvote.tracking.comparison import LeaderboardComparison, join_ledger
from softvote.tracking.leaderboard import read_leaderboard, write_leaderboard
from softvote.tracking.ledger import Entry, read_ledger
from softvote.words import counted


@dataclass(frozen=True)
class LeaderboardResult:
    """What cross-validation and the leaderboard say of past submissions.

    Attributes:
        fetched: what was asked of Kaggle before, a line each.
        rows: a comparison for each competition.
        picture: None where there was nothing to draw.
    """

    fetched: tuple[str, ...]
    rows: tuple[LeaderboardComparison, ...]
    picture: Path | None

    def __str__(self) -> str:
        wrote = [f"wrote {self.picture}"] if self.picture else []
        return "\n".join([*self.fetched, render_board(self.rows).removesuffix("\n"), *wrote])


def run(root: Path, fetch: bool, report: Report = ignore) -> LeaderboardResult:
    """Show every submission of the ledger with its scores, as a table and a picture.

    Args:
        fetch: whether Kaggle is asked first for all past submissions of the ledger's competitions.
        report: takes the result where an error follows.

    Raises:
        UserError: a damaged ledger or leaderboard; or, after all others were asked for and shown, what Kaggle
            refuses, one line per competition.
    """
    workspace = Workspace(root)
    entries = read_ledger(workspace.ledger)
    competitions = _competitions(workspace, entries)
    fetched, problems = _fetch(workspace, competitions.values(), entries) if fetch else ([], [])
    shares = {name: competition.public_share for name, competition in competitions.items()}
    hidden = {name: each.hidden_test_rows for name, each in competitions.items() if each.hidden_test_rows}
    board = read_leaderboard(workspace.leaderboard)
    rows = join_ledger(entries, board, shares, hidden)
    drawn = draw_board(workspace.leaderboard_picture, rows)
    picture = workspace.leaderboard_picture if drawn else None
    result = LeaderboardResult(tuple(fetched), tuple(rows), picture)
    if problems:
        report(result)
        raise UserError(*problems)
    return result


def _competitions(workspace: Workspace, entries: Iterable[Entry]) -> dict[str, Competition]:
    """The competitions of the ledger, as its pipelines describe them today."""
    found: dict[str, Competition] = {}
    for name in dict.fromkeys(entry.pipeline for entry in reversed(list(entries))):
        try:
            competition = open_run(workspace.root, name).pipeline.competition
        except UserError:  # a pipeline that is gone or being written does not hide what others scored
            continue
        found.setdefault(competition.name, competition)
    return found


def _fetch(
    workspace: Workspace, competitions: Iterable[Competition], entries: Sequence[Entry]
) -> tuple[list[str], list[Problem]]:
    """Ask for each competition's submissions; what is to be said of those that came, and what went wrong."""
    held = [competition for competition in competitions if competition.kaggle is not None]
    if not held:
        return ["no competition of the ledger is hosted on Kaggle; nothing to fetch"], []
    client, told, problems = Competitions(), list[str](), list[Problem]()
    for competition in held:
        try:
            past = client.submissions(str(competition.kaggle))
            lost = write_leaderboard(workspace.leaderboard, competition.name, past)
        except UserError as error:
            problems += error.problems
        else:
            told.append(
                f"{competition.name}: {counted(len(past), 'submission')} into {workspace.leaderboard}"
            )
            found = {submission.ref for submission in past}
            sent = {entry.ref for entry in entries if entry.competition == competition.name and entry.ref}
            told += _describe_lost(competition.name, sorted({*lost, *(sent - found)}), client.username)
    return told, problems


def _describe_lost(competition: str, refs: Sequence[int], username: str) -> list[str]:
    """What is to be said of submissions that are known here and that Kaggle does not list."""
    if not refs:
        return []
    names = ", ".join([*map(str, refs[:10]), *([f"... ({len(refs):,} in all)"] if len(refs) > 10 else [])])
    return [
        f"{competition}: Kaggle does not list {names} for {username}; what is known of them stays. They may "
        "have been sent from another account or team: sign in with that one and fetch again"
    ]
