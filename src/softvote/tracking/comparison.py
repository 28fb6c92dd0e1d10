"""Cross-validation held against the leaderboard."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from softvote.config.entries import MetricConfig
from softvote.kaggle.competitions import Submission
from softvote.metrics import parse_metric
from softvote.metrics.scores import Difference, Score, verdict
from softvote.tracking.ledger import Entry
from softvote.tracking.submission_message import parse_sha256

LeaderboardVerdict = Literal["chance", "higher than chance explains", "lower than chance explains"]


_VERDICTS: dict[str, LeaderboardVerdict] = {
    "noise": "chance",
    "better": "higher than chance explains",
    "worse": "lower than chance explains",
}


FEWEST_RANKED = 3  # two rows are in the same order or in the opposite one: no correlation


def recency(submission: Submission) -> tuple[str, int]:
    """By what submissions are ordered, the newest last: their time, and of equal times their number."""
    return submission.time, submission.ref


@dataclass(frozen=True, kw_only=True)
class LeaderboardRow:
    """A file of the ledger, and what became of it.

    Attributes:
        entry: its newest row in the ledger.
        submission: the newest that has a score, else the newest; None where none was sent.
        metric: what the competition is scored by; where the file was scored here by another, nothing is
            compared.
        public: the score on the public part of the test rows.
        private: the same on the others.
        solution: the same on all test rows, scored here where their labels are known.
        cv_rank: 1 is the best of its competition's scored rows; equal scores share a rank.
        leaderboard_rank: the same by the score of the leaderboard.
    """

    entry: Entry
    metric: str = "accuracy"
    submission: Submission | None = None
    public: Score | None = None
    private: Score | None = None
    solution: Score | None = None
    cv_rank: int | None = None
    leaderboard_rank: int | None = None

    @property
    def cv(self) -> Score:
        """Cross-validation."""
        return self.entry.cv

    @property
    def expected(self) -> Score:
        """What the leaderboard was expected to say; cross-validation, where nothing else was expected."""
        return self.entry.expected or self.cv

    @property
    def leaderboard(self) -> Score | None:
        """What is held against the expected score: the public score, else the solution's."""
        return self.public or self.solution

    @property
    def difference(self) -> Difference | None:
        """Leaderboard minus expected score, of samples that have no row in common."""
        score, metric = self.leaderboard, self.entry.scored_by
        if score is None or not self.is_comparable:
            return None
        error = math.hypot(score.standard_error, self.expected.standard_error)
        gap = score.value - self.expected.value
        return Difference(gap, error, score.rows, metric.percent, metric.greater_is_better)

    @property
    def is_comparable(self) -> bool:
        """Whether cross-validation and the leaderboard say the same kind of thing."""
        possible = [score for score in (self.public, self.private) if score is not None]
        metric = self.entry.scored_by
        within = all(metric.lowest <= score.value <= metric.highest for score in possible)
        return self.entry.metric == self.metric and within

    @property
    def verdict(self) -> LeaderboardVerdict | None:
        """`chance` unless the difference is more than two of its standard errors."""
        if self.difference is None:
            return None
        return _VERDICTS[verdict(self.difference.value, self.difference.standard_error)]

    @property
    def status(self) -> str:
        """What became of it, in a word or, after an error, in Kaggle's."""
        if not self.is_comparable:
            other = f"scored here by {self.entry.metric}"
            return other if self.entry.metric != self.metric else f"{other}, which no such score is"
        if self.submission is None:
            return "not sent" if self.solution is None else "solution.csv"
        if self.submission.status == "error":
            return " ".join(f"error: {self.submission.error or 'Kaggle does not say why'}".split())
        if self.submission.status == "complete":
            return "no score" if self.public is None else "scored"
        return self.submission.status


@dataclass(frozen=True)
class LeaderboardComparison:
    """One competition's files.

    Attributes:
        competition: its name.
        rows: best cross-validation first.
        unknown: how many submissions on its leaderboard are of no file in the ledger.
        hidden_rows: number of test rows that kernels are run again on; None where nobody said.
    """

    competition: str
    rows: list[LeaderboardRow]
    unknown: int
    hidden_rows: int | None = None

    @property
    def metric(self) -> MetricConfig:
        """What the competition is scored by, as its newest entry says."""
        return parse_metric(self.rows[0].metric if self.rows else "accuracy")

    @property
    def scored(self) -> list[LeaderboardRow]:
        """Those that the leaderboard knows and that can be compared with it."""
        return [row for row in self.rows if row.leaderboard is not None and row.is_comparable]

    @property
    def note(self) -> str:
        """What is to be said of errors that may go by too few rows; empty where nothing is."""
        kernels = [row.entry.test_rows for row in self.rows if row.entry.kernel and row.public is not None]
        if self.hidden_rows is not None or not kernels:
            return ""
        return (
            f"errors of leaderboard scores go by {max(kernels):,} test rows: where kernels are scored on "
            "hidden ones, say how many there are, competition.hidden_test_rows"
        )

    @property
    def rank_correlation(self) -> float | None:
        """Spearman's, of cross-validation and leaderboard, -1..1.

        None where it says nothing: fewer than three scored rows, or scores that are all alike.
        """
        from scipy.stats import spearmanr

        pairs = [(row.cv.value, row.leaderboard.value) for row in self.scored if row.leaderboard]
        ours, theirs = [cv for cv, _ in pairs], [score for _, score in pairs]
        if len(pairs) < FEWEST_RANKED or min(len(set(ours)), len(set(theirs))) == 1:
            return None
        return float(spearmanr(ours, theirs).statistic)


def join_ledger(
    entries: Sequence[Entry],
    board: Iterable[tuple[str, Submission]],
    public_shares: Mapping[str, float],
    hidden_rows: Mapping[str, int] = MappingProxyType({}),
) -> list[LeaderboardComparison]:
    """Find the submission of each file in the ledger: by its ref, else by the sha256 it was described with.

    A file is a pipeline's sha256. Entered or sent several times it is one row; its newest entry counts.

    Args:
        entries: in the order they were written.
        board: submissions with their competitions.
        public_shares: of a competition's test rows, those behind the public score, above 0 and up to 1;
            1 where it is left out.
        hidden_rows: how many test rows a competition has, where it hides them; if left out, those of a file.

    Returns:
        One per competition, by name.
    """
    ours, theirs = defaultdict[str, list[Entry]](list), defaultdict[str, list[Submission]](list)
    for entry in entries:
        ours[entry.competition].append(entry)
    for competition, submission in board:
        theirs[competition].append(submission)
    return [
        _comparison(name, ours[name], theirs[name], public_shares.get(name, 1.0), hidden_rows.get(name))
        for name in sorted({*ours, *theirs})
    ]


def _comparison(
    name: str,
    entries: Sequence[Entry],
    submissions: Sequence[Submission],
    public_share: float,
    hidden_rows: int | None,
) -> LeaderboardComparison:
    newest = {(entry.pipeline, entry.sha256): entry for entry in entries}.values()
    sent = _by_file(entries, submissions)
    metric = entries[-1].metric if entries else "accuracy"
    rows = [_row(entry, metric, sent.get(entry.sha256, []), public_share, hidden_rows) for entry in newest]
    rows.sort(key=lambda row: (row.entry.metric != metric, -_worth(row.entry, row.cv)))
    known = {entry.sha256 for entry in entries}
    unknown = sum(len(each) for sha256, each in sent.items() if sha256 not in known)
    return LeaderboardComparison(name, _rank(rows), unknown, hidden_rows)


def _by_file(
    entries: Iterable[Entry], submissions: Iterable[Submission]
) -> dict[str | None, list[Submission]]:
    """Submissions by sha256; None has those that nothing leads to a file."""
    entered = {entry.ref: entry.sha256 for entry in entries if entry.ref is not None}
    sent = defaultdict[str | None, list[Submission]](list)
    for submission in submissions:
        sent[entered.get(submission.ref) or parse_sha256(submission.description)].append(submission)
    return sent


def _worth(entry: Entry, score: Score) -> float:
    """The value, turned so that greater is better."""
    return score.value if entry.scored_by.greater_is_better else -score.value


def _row(
    entry: Entry,
    metric: str,
    submissions: Sequence[Submission],
    public_share: float,
    hidden_rows: int | None,
) -> LeaderboardRow:
    rows = hidden_rows or entry.test_rows
    behind_public = max(1, round(rows * public_share))
    behind_private = max(1, rows - behind_public) if public_share < 1 else rows
    submission = max(submissions, key=lambda each: (_is_scored(each), *recency(each)), default=None)
    scored = submission if submission is not None and submission.status == "complete" else None
    return LeaderboardRow(
        entry=entry,
        metric=metric,
        submission=submission,
        public=None if scored is None else _score(entry, scored.public, behind_public),
        private=None if scored is None else _score(entry, scored.private, behind_private),
        solution=entry.solution,
    )


def _is_scored(submission: Submission) -> bool:
    return submission.status == "complete" and submission.public is not None


def _score(entry: Entry, value: float | None, rows: int) -> Score | None:
    return None if value is None else entry.score_on_test_rows(value, rows)


def _rank(rows: Sequence[LeaderboardRow]) -> list[LeaderboardRow]:
    scores = [
        (_worth(row.entry, row.cv), _worth(row.entry, row.leaderboard))
        for row in rows
        if row.leaderboard is not None and row.is_comparable
    ]

    def with_rank(row: LeaderboardRow) -> LeaderboardRow:
        if row.leaderboard is None or not row.is_comparable:
            return row
        by_cv, by_leaderboard = _worth(row.entry, row.cv), _worth(row.entry, row.leaderboard)
        return replace(
            row,
            cv_rank=1 + sum(cv > by_cv for cv, _ in scores),
            leaderboard_rank=1 + sum(score > by_leaderboard for _, score in scores),
        )

    return [with_rank(row) for row in rows]
