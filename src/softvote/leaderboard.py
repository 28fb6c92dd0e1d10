"""The leaderboard: past submissions as Kaggle reported them, beside what cross-validation said of them.

Differences are judged by both sample sizes alone. The standard error of cross-validation ignores the spread
between trainings, and a submission is the mean of all folds' networks where cross-validation scores one
network a row: a difference that chance does not explain is not yet a fault.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from softvote.errors import Problems
from softvote.kaggle import Status, Submission
from softvote.ledger import Entry
from softvote.pictures import Point, cross_validation_against_leaderboard
from softvote.records import Form, Reader, alone, as_text, finite, optional
from softvote.scores import Difference, Score, share_of
from softvote.tables import render

Verdict = Literal["chance", "higher than chance explains", "lower than chance explains"]

_VERDICTS: dict[str, Verdict] = {
    "noise": "chance",
    "better": "higher than chance explains",
    "worse": "lower than chance explains",
}
_FEWEST_RANKED = 3  # two rows are in the same order or in the opposite one: no correlation


# ---------------------------------------------------------------- the file


def _status(text: str) -> str:
    if text not in get_args(Status):
        raise ValueError(text)
    return text


def _share(text: str) -> float:
    if not 0 <= finite(text) <= 1:
        raise ValueError(text)
    return finite(text)


COLUMNS = ["competition", *(column.name for column in fields(Submission))]

_READERS: dict[str, Reader] = {
    "ref": int,
    "status": _status,
    "public": optional(_share),
    "private": optional(_share),
}
_FORM = Form(
    {column: _READERS.get(column, str) for column in COLUMNS},
    remedy="mend it, or take it away and fetch it again: make leaderboard",
)


def read_leaderboard(path: Path) -> list[tuple[str, Submission]]:
    """Each submission with its competition, the newest of a competition first; none where there is no file.

    Raises:
        UserError: the file is damaged: every problem with its row and column.
    """
    read = [_FORM.values(record) for record in _FORM.read(path)]
    return [(values.pop("competition"), Submission(**values)) for values in read]


def write_leaderboard(path: Path, competition: str, submissions: Sequence[Submission]) -> int:
    """Put a competition's submissions in the place of those the file has of it; others stay.

    Args:
        competition: its name in the ledger.
        submissions: all of them, in any order; one that two pages list counts once.

    Returns:
        How many of this competition there are now.

    Raises:
        UserError: scores outside 0..1, or a damaged file (then it is left as it is), or one that cannot be
            written.
    """
    fetched = {submission.ref: submission for submission in submissions}.values()
    _refuse_other_metrics(competition, fetched)
    with alone(path):
        others = [(name, old) for name, old in read_leaderboard(path) if name != competition]
        board = [*others, *((competition, new) for new in fetched)]
        board.sort(key=lambda row: _age(row[1]), reverse=True)
        board.sort(key=lambda row: row[0])
        records = [
            {column: as_text(value) for column, value in ({"competition": name} | vars(each)).items()}
            for name, each in board
        ]
        _FORM.write(path, records)
    return len(fetched)


def _refuse_other_metrics(competition: str, submissions: Iterable[Submission]) -> None:
    problems = Problems()
    for each in submissions:
        for score in (each.public, each.private):
            if score is not None and not 0 <= score <= 1:
                what = f"the score {score} is no accuracy 0..1; only competitions of accuracy can be compared"
                problems.add(f"{competition}, submission {each.ref}", what)
    problems.raise_any()


def _age(submission: Submission) -> tuple[str, int]:
    return submission.time, submission.ref


# ---------------------------------------------------------------- what is sent with a submission


def described(entry: Entry) -> str:
    """One line for Kaggle's list of submissions, with the sha256 that leads back to the ledger."""
    return f"{entry.pipeline}, {entry.ensemble}, cross-validation {entry.cv}, sha256 {entry.sha256}"


def sha256_in(description: str) -> str | None:
    """The sha256 that a description carries, whatever people wrote around it."""
    found = re.search(r"\bsha256 ([0-9a-f]{64})\b", description)
    return found[1] if found else None


# ---------------------------------------------------------------- ledger and leaderboard together


@dataclass(frozen=True, kw_only=True)
class Row:
    """A file of the ledger, and what became of it.

    Attributes:
        entry: its newest row in the ledger.
        submission: the newest that has a score, else the newest; None where none was sent.
        public: accuracy on the public part of the test rows.
        private: the same on the others.
        solution: the same on all test rows, scored here where their labels are known.
        cv_rank: 1 is the best of its competition's scored rows; equal scores share a rank.
        leaderboard_rank: the same by the score of the leaderboard.
    """

    entry: Entry
    submission: Submission | None = None
    public: Score | None = None
    private: Score | None = None
    solution: Score | None = None
    cv_rank: int | None = None
    leaderboard_rank: int | None = None

    @property
    def cv(self) -> Score:
        return self.entry.cv

    @property
    def leaderboard(self) -> Score | None:
        """What cross-validation is held against: the public score, else the solution's."""
        return self.public or self.solution

    @property
    def difference(self) -> Difference | None:
        """Leaderboard minus cross-validation, of samples that have no row in common."""
        score = self.leaderboard
        if score is None:
            return None
        error = math.hypot(score.standard_error, self.cv.standard_error)
        return Difference(score.value - self.cv.value, error, score.rows)

    @property
    def verdict(self) -> Verdict | None:
        """`chance` unless the difference is more than two of its standard errors."""
        return None if self.difference is None else _VERDICTS[self.difference.verdict]

    @property
    def status(self) -> str:
        """What became of it, in a word or, after an error, in Kaggle's."""
        if self.submission is None:
            return "not sent" if self.solution is None else "solution.csv"
        if self.submission.status == "error":
            return " ".join(f"error: {self.submission.error or 'Kaggle does not say why'}".split())
        if self.submission.status == "complete":
            return "no score" if self.public is None else "scored"
        return self.submission.status


@dataclass(frozen=True)
class Comparison:
    """One competition's files.

    Attributes:
        competition: its name.
        rows: best cross-validation first.
        unknown: how many submissions on its leaderboard are of no file in the ledger.
    """

    competition: str
    rows: list[Row]
    unknown: int

    @property
    def scored(self) -> list[Row]:
        return [row for row in self.rows if row.leaderboard is not None]

    @property
    def rank_correlation(self) -> float | None:
        """Spearman's, of cross-validation and leaderboard, -1..1.

        None where it says nothing: fewer than three scored rows, or scores that are all alike.
        """
        from scipy.stats import spearmanr

        pairs = [(row.cv.value, row.leaderboard.value) for row in self.rows if row.leaderboard is not None]
        ours, theirs = [cv for cv, _ in pairs], [score for _, score in pairs]
        if len(pairs) < _FEWEST_RANKED or min(len(set(ours)), len(set(theirs))) == 1:
            return None
        return float(spearmanr(ours, theirs).statistic)


def join(
    entries: Sequence[Entry],
    board: Iterable[tuple[str, Submission]],
    public_shares: Mapping[str, float],
) -> list[Comparison]:
    """Find the submission of each file in the ledger: by its ref, else by the sha256 it was described with.

    A file is a pipeline's sha256. Entered or sent several times it is one row; its newest entry counts.

    Args:
        entries: in the order they were written.
        board: submissions with their competitions.
        public_shares: of a competition's test rows, those behind the public score, above 0 and up to 1;
            1 where it is left out.

    Returns:
        One a competition, by name.
    """
    ours, theirs = defaultdict[str, list[Entry]](list), defaultdict[str, list[Submission]](list)
    for entry in entries:
        ours[entry.competition].append(entry)
    for competition, submission in board:
        theirs[competition].append(submission)
    return [
        _comparison(name, ours[name], theirs[name], public_shares.get(name, 1.0))
        for name in sorted({*ours, *theirs})
    ]


def _comparison(
    name: str, entries: Sequence[Entry], submissions: Sequence[Submission], public_share: float
) -> Comparison:
    newest = {(entry.pipeline, entry.sha256): entry for entry in entries}.values()
    sent = _by_file(entries, submissions)
    rows = [_row(entry, sent.get(entry.sha256, []), public_share) for entry in newest]
    rows.sort(key=lambda row: -row.cv.value)
    known = {entry.sha256 for entry in entries}
    unknown = sum(len(each) for sha256, each in sent.items() if sha256 not in known)
    return Comparison(name, _ranked(rows), unknown)


def _by_file(
    entries: Iterable[Entry], submissions: Iterable[Submission]
) -> dict[str | None, list[Submission]]:
    """Submissions by sha256; None has those that nothing leads to a file."""
    entered = {entry.ref: entry.sha256 for entry in entries if entry.ref is not None}
    sent = defaultdict[str | None, list[Submission]](list)
    for submission in submissions:
        sent[entered.get(submission.ref) or sha256_in(submission.description)].append(submission)
    return sent


def _row(entry: Entry, submissions: Sequence[Submission], public_share: float) -> Row:
    rows = entry.test_rows
    behind_public = max(1, round(rows * public_share))
    behind_private = max(1, rows - behind_public) if public_share < 1 else rows
    submission = max(submissions, key=lambda each: (_is_scored(each), *_age(each)), default=None)
    scored = submission if submission is not None and submission.status == "complete" else None
    return Row(
        entry=entry,
        submission=submission,
        public=None if scored is None else _score(scored.public, behind_public),
        private=None if scored is None else _score(scored.private, behind_private),
        solution=entry.solution,
    )


def _is_scored(submission: Submission) -> bool:
    return submission.status == "complete" and submission.public is not None


def _score(share: float | None, rows: int) -> Score | None:
    return None if share is None else share_of(share, rows)


def _ranked(rows: Sequence[Row]) -> list[Row]:
    scores = [(row.cv.value, row.leaderboard.value) for row in rows if row.leaderboard is not None]

    def ranked(row: Row) -> Row:
        if row.leaderboard is None:
            return row
        by_cv, by_leaderboard = row.cv.value, row.leaderboard.value
        return replace(
            row,
            cv_rank=1 + sum(cv > by_cv for cv, _ in scores),
            leaderboard_rank=1 + sum(score > by_leaderboard for _, score in scores),
        )

    return [ranked(row) for row in rows]


# ---------------------------------------------------------------- shown


def render_board(comparisons: Sequence[Comparison]) -> str:
    """A table a competition, and under it what its ranks have in common; ends in a line end."""
    if not comparisons:
        return "nothing to show: the ledger has no submission yet; build one with make submit\n"
    legend = "± is one standard error; up to two of them from 0 is what chance explains\n"
    return "\n".join([*map(_table, comparisons), legend])


def _table(comparison: Comparison) -> str:
    lines = [f"{comparison.competition}\n"]
    if comparison.rows:
        lines += [_without_empty_columns(comparison), _about_ranks(comparison)]
    if comparison.unknown:
        lines.append(
            f"{_count(comparison.unknown, 'submission')} on the leaderboard of no file in the ledger\n"
        )
    return "".join(lines)


def _without_empty_columns(comparison: Comparison) -> str:
    theirs = "solution" if _is_solved(comparison) else "public"
    header = ["pipeline", "voter", "file", "CV", theirs, "private", f"{theirs} - CV", "which is"]
    header += ["CV rank", f"{theirs} rank", "status"]
    files = _told_apart(comparison.rows, lambda entry: (_name(entry), entry.ensemble))
    cells = [_cells(row, file) for row, file in zip(comparison.rows, files, strict=True)]
    columns = zip(header, *cells, strict=True)
    kept, *lines = zip(*(column for column in columns if any(column[1:])), strict=True)
    return render(kept, lines)


def _is_solved(comparison: Comparison) -> bool:
    """Whether its scores were made here."""
    return bool(comparison.scored) and all(row.public is None for row in comparison.scored)


def _told_apart(rows: Sequence[Row], name: Callable[[Entry], object]) -> list[str]:
    """The first digits of each row's sha256 where others have the same name; else nothing."""
    several = Counter(name(row.entry) for row in rows)
    return [row.entry.sha256[:8] if several[name(row.entry)] > 1 else "" for row in rows]


def _cells(row: Row, file: str) -> list[str]:
    values: list[Any] = [row.cv, row.leaderboard, row.private, row.difference, row.verdict]
    values += [row.cv_rank, row.leaderboard_rank, row.status]
    names = [_name(row.entry), row.entry.ensemble, file]
    return [*names, *("" if value is None else str(value) for value in values)]


def _name(entry: Entry) -> str:
    return " ".join([entry.pipeline, *entry.settings])


def _about_ranks(comparison: Comparison) -> str:
    rows = _count(len(comparison.scored), "scored row")
    if len(comparison.scored) < _FEWEST_RANKED:
        return f"{rows}, too few for a rank correlation\n"
    if comparison.rank_correlation is None:
        return f"no rank correlation of {rows}: the scores are all alike\n"
    return f"rank correlation (Spearman) {comparison.rank_correlation:+.2f}, of {rows}\n"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def draw_board(path: Path, comparisons: Sequence[Comparison]) -> bool:
    """Draw the scored rows, a panel a competition, as PNG.

    Returns:
        Whether there were any.

    Raises:
        UserError: the file cannot be written.
    """
    panels = {_heading(each): _points(each.scored) for each in comparisons if each.scored}
    if panels:
        cross_validation_against_leaderboard(path, panels)
    return bool(panels)


def _heading(comparison: Comparison) -> str:
    return f"{comparison.competition}{', solution.csv' if _is_solved(comparison) else ''}"


def _points(rows: Sequence[Row]) -> list[Point]:
    """Named by their pipelines, and where those have several, by their voters and files too."""
    scored = [row for row in rows if row.leaderboard is not None]
    several = Counter(_name(row.entry) for row in scored)
    files = _told_apart(scored, lambda entry: (_name(entry), entry.ensemble))
    points = []
    for row, file in zip(scored, files, strict=True):
        name, score = _name(row.entry), row.leaderboard
        if several[name] > 1:
            name = ", ".join(filter(None, [name, row.entry.ensemble, file]))
        if score is not None:
            points.append(Point(name, row.cv, score, row.verdict == "chance"))
    return points
