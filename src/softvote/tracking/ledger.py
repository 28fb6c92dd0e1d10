"""The ledger: one row for every submission built, saying what it was made from and how it scored."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path

from softvote.config.entries import MetricConfig
from softvote.metrics import parse_metric
from softvote.metrics.scores import Score, score_of_proportion
from softvote.storage.csv_store import (
    CellParser,
    CsvRecord,
    CsvSchema,
    format_cell,
    optional,
    parse_bool,
    parse_finite,
)
from softvote.storage.locks import file_lock


def now() -> str:
    """The time in UTC, to the second: 2025-01-31T12:00:00Z."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


REFIT_BESIDE = " + refit"


TRANSDUCTIVE = "transductive"
"""What marks scores of networks that learned test images, without their labels."""


SETTLED = "settled on these rows"
"""What marks scores on rows by which a search settled values."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One row of the ledger; its fields are the columns in their order."""

    time: str = field(default_factory=now)
    pipeline: str
    competition: str
    ensemble: str
    """Name and rule, such as `vote: mean`; or a member alone."""
    members: tuple[str, ...]
    folds: str
    """Trained of all, such as `5/5`; followed by `REFIT_BESIDE` where some networks were in no score, and,
    each after ` + `, by `TRANSDUCTIVE` where some learned test images, and `SETTLED` where a search settled
    values on the rows of the score."""
    settings: tuple[str, ...] = ()
    """What `--set` laid over the pipeline file."""
    metric: str = "accuracy"
    """What is scored, as `MetricConfig` has it in words; empty, accuracy, in a ledger of long ago."""
    decision: str = ""
    """What was decided by, in words; empty for the most probable class."""
    cv_score: float
    cv_standard_error: float
    rows: int
    """How many out-of-fold rows cv_score was taken over."""
    expected_score: float | None = None
    """What the test rows may be expected to score: more networks vote on them than in cross-validation."""
    expected_standard_error: float | None = None
    cv_squared_error: float | None = None
    """Of the expected label on the same rows, where labels are sums."""
    cv_squared_error_standard_error: float | None = None
    solution_score: float | None = None
    """Against the true labels of the test rows, where they are known."""
    solution_standard_error: float | None = None
    test_rows: int
    file: str
    sha256: str
    ref: int | None = None
    """What Kaggle calls the submission, once it was sent."""
    kernel: str = ""
    """The kernel of Kaggle that wrote it, as owner/slug/version; empty for one that was written here."""
    device: str = ""
    """The accelerator that trained the networks, by its name; empty for processors."""
    commit: str
    clean: bool

    @property
    def cv(self) -> Score:
        """Cross-validation."""
        return Score(self.cv_score, self.cv_standard_error, self.rows, self.scored_by.percent)

    @property
    def expected(self) -> Score | None:
        """What the submission was expected to score; None where nobody could say."""
        if self.expected_score is None or self.expected_standard_error is None:
            return None
        return Score(self.expected_score, self.expected_standard_error, self.rows, self.scored_by.percent)

    @property
    def scored_by(self) -> MetricConfig:
        """The metric: its direction, and how it is shown."""
        return parse_metric(self.metric)

    @property
    def voter(self) -> str:
        """`ensemble`, marked where it is transductive."""
        return f"{self.ensemble}, {TRANSDUCTIVE}" if self.is_transductive else self.ensemble

    @property
    def is_transductive(self) -> bool:
        """Whether some of its networks learned test images."""
        return TRANSDUCTIVE in self.folds

    @property
    def squared_error(self) -> Score | None:
        """Of the expected sum, in cross-validation; None where labels are not sums."""
        if self.cv_squared_error is None or self.cv_squared_error_standard_error is None:
            return None
        return Score(self.cv_squared_error, self.cv_squared_error_standard_error, self.rows, percent=False)

    @property
    def solution(self) -> Score | None:
        """What the test rows scored by a known solution; None without one."""
        if self.solution_score is None:
            return None
        return self.score_on_test_rows(self.solution_score, self.test_rows, self.solution_standard_error)

    def score_on_test_rows(self, value: float, rows: int, error: float | None = None) -> Score:
        """What somebody scored on so many test rows.

        Args:
            error: where it is known; if omitted, that of a proportion, and of another metric the one of
                cross-validation, less as the square root of rows grows.
        """
        if self.is_accuracy and 0 <= value <= 1:
            return score_of_proportion(value, rows)
        if error is None:
            error = self.cv_standard_error * math.sqrt(self.rows / rows)
        return Score(value, error, rows, self.scored_by.percent and 0 <= value <= 1)

    @property
    def is_accuracy(self) -> bool:
        """Whether it is scored by the proportion that is right."""
        return self.metric == "accuracy"


LEDGER_COLUMNS = [column.name for column in fields(Entry)]


NEWER_COLUMNS = (
    "device",
    "metric",
    "decision",
    "expected_score",
    "expected_standard_error",
    "solution_standard_error",
)
"""Those that ledgers written before they were thought of do not have."""


_READERS: dict[str, CellParser] = {
    "metric": lambda text: text or "accuracy",
    "members": lambda text: tuple(text.split()),
    "settings": lambda text: tuple(text.split()),
    "cv_score": parse_finite,
    "cv_standard_error": parse_finite,
    "rows": int,
    "expected_score": optional(parse_finite),
    "expected_standard_error": optional(parse_finite),
    "cv_squared_error": optional(parse_finite),
    "cv_squared_error_standard_error": optional(parse_finite),
    "solution_score": optional(parse_finite),
    "solution_standard_error": optional(parse_finite),
    "test_rows": int,
    "ref": optional(int),
    "clean": parse_bool,
}


_FORM = CsvSchema(
    {column: _READERS.get(column, str) for column in LEDGER_COLUMNS},
    remedy="fix it by hand or from git, nothing was written",
    newer=NEWER_COLUMNS,
)


def read_ledger(path: Path) -> list[Entry]:
    """Entries in the order they were written; none where there is no file.

    Raises:
        UserError: the ledger is damaged: every problem with its row and column.
    """
    return [Entry(**_FORM.values(record)) for record in _FORM.read(path)]


def append_entry(path: Path, entry: Entry) -> bool:
    """Add an entry, unless the voter's newest one from the same place says so at another time or commit.

    Writers wait for each other, so that none loses a row; the file is rewritten whole or not at all.

    Returns:
        Whether it was written.

    Raises:
        UserError: the ledger is damaged (then it is left as it is), or cannot be written.
        ValueError: a fact that could not be read again, such as a score that is not finite.
    """
    added = {column: format_cell(getattr(entry, column)) for column in LEDGER_COLUMNS}
    _FORM.values(added)
    with file_lock(path):
        records = _FORM.read(path)
        voter = (entry.pipeline, entry.ensemble, entry.kernel)
        same = [old for old in records if (old["pipeline"], old["ensemble"], old["kernel"]) == voter]
        newest = same[-1] if same else None
        if newest is not None and _content(newest) == _content(added):
            return False
        _FORM.write(path, [*records, added])
        return True


def record_submission_id(path: Path, entry: Entry, ref: int) -> None:
    """Note what Kaggle calls a submission: in its newest row, or in a copy of it if that was sent before.

    Raises:
        UserError: the ledger is damaged (then it is left as it is), or cannot be written.
        ValueError: the ledger has no such submission.
    """
    with file_lock(path):
        records = _FORM.read(path)
        known = (entry.pipeline, entry.sha256, entry.kernel)
        same = [old for old in records if (old["pipeline"], old["sha256"], old["kernel"]) == known]
        if not same:
            raise ValueError(f"{path} has no {entry.pipeline} of sha256 {entry.sha256}")
        if str(ref) in [old["ref"] for old in same]:
            return
        newest = same[-1]
        if newest["ref"]:
            newest = newest | {"time": now()}
            records.append(newest)
        newest["ref"] = str(ref)
        _FORM.write(path, records)


_OUTSIDE_CONTENT = ("time", "ref", "commit", "clean")


def _content(record: CsvRecord) -> CsvRecord:
    """What an entry says of the submission itself, whenever, at whatever commit, sent or not."""
    return {column: text for column, text in record.items() if column not in _OUTSIDE_CONTENT} | {
        "metric": record["metric"] or "accuracy"
    }
