"""The ledger: one row for every submission built, saying what it was made from and how it scored."""

from __future__ import annotations

import contextlib
import csv
import fcntl
import io
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from softvote.artifacts import write_text
from softvote.errors import Problems, UserError, cell


def now() -> str:
    """The time in UTC, to the second: 2025-01-31T12:00:00Z."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


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
    """Trained of all, such as `5/5`."""
    settings: tuple[str, ...] = ()
    """What `--set` laid over the pipeline file."""
    cv_score: float
    cv_standard_error: float
    rows: int
    """How many out-of-fold rows cv_score was taken over."""
    cv_squared_error: float | None = None
    """Of the expected label on the same rows, where labels are sums."""
    cv_squared_error_standard_error: float | None = None
    solution_score: float | None = None
    """Against the true labels of the test rows, where they are known."""
    test_rows: int
    file: str
    sha256: str
    ref: int | None = None
    """What Kaggle calls the submission, once it was sent."""
    commit: str
    clean: bool


COLUMNS = [column.name for column in fields(Entry)]


def read_ledger(path: Path) -> list[Entry]:
    """Entries in the order they were written; none where there is no file.

    Raises:
        UserError: the ledger is damaged: every problem with its row and column.
    """
    return [_parsed(record) for record in _records(path)]


def append_entry(path: Path, entry: Entry) -> bool:
    """Add an entry, unless the pipeline's newest one says the same at another time or commit.

    Writers wait for each other, so that none loses a row; the file is rewritten whole or not at all.

    Returns:
        Whether it was written.

    Raises:
        UserError: the ledger is damaged (then it is left as it is), or cannot be written.
        ValueError: a fact that could not be read again, such as a score that is not finite.
    """
    added = _written(entry)
    _parsed(added)
    with _alone(path):
        records = _records(path)
        newest = next((old for old in reversed(records) if old["pipeline"] == entry.pipeline), None)
        if newest is not None and _facts(newest) == _facts(added):
            return False
        write_text(path, _csv([*records, added]))
        return True


def enter_ref(path: Path, pipeline: str, sha256: str, ref: int) -> None:
    """Note what Kaggle calls a submission: in its newest row, or in a copy of it if that was sent before.

    Raises:
        UserError: the ledger is damaged (then it is left as it is), or cannot be written.
        ValueError: the ledger has no such submission.
    """
    with _alone(path):
        records = _records(path)
        same = [old for old in records if (old["pipeline"], old["sha256"]) == (pipeline, sha256)]
        if not same:
            raise ValueError(f"{path} has no {pipeline} of sha256 {sha256}")
        if str(ref) in [old["ref"] for old in same]:
            return
        newest = same[-1]
        if newest["ref"]:
            newest = newest | {"time": now()}
            records.append(newest)
        newest["ref"] = str(ref)
        write_text(path, _csv(records))


_NO_FACTS = ("time", "ref", "commit", "clean")


def _facts(record: dict[str, str]) -> dict[str, str]:
    """What an entry says of the submission itself, whenever, at whatever commit, sent or not."""
    return {column: text for column, text in record.items() if column not in _NO_FACTS}


# ---------------------------------------------------------------- the file


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Wait until no other process writes; the system frees the lock when a process ends, however it ends."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The ledger itself cannot be the lock: it is replaced by each writer.
        file = path.with_name(".ledger.lock").open("w")
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); free it or pass --root") from None
    with file as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _csv(records: list[dict[str, str]]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return buffer.getvalue()


def _records(path: Path) -> list[dict[str, str]]:
    """The rows as text, every cell known to be readable."""
    if not path.exists():
        return []
    lines, problems = [], Problems()
    try:
        lines = list(csv.reader(io.StringIO(path.read_bytes().decode(), newline=""), strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        problems.add(str(path), f"cannot be read ({error}); {_MEND}")
    else:
        _check(lines, problems, path)
    problems.raise_any()
    return [dict(zip(COLUMNS, line, strict=True)) for line in lines[1:]]


_MEND = "mend it by hand or from git, nothing was written"


def _check(lines: list[list[str]], problems: Problems, path: Path) -> None:
    if lines[:1] != [COLUMNS]:
        problems.add(f"{path}, row 1", f"the header is not {','.join(COLUMNS)}; {_MEND}")
        return
    for row, line in enumerate(lines[1:], start=2):
        if len(line) != len(COLUMNS):
            problems.add(f"{path}, row {row}", f"{len(line)} columns, not {len(COLUMNS)}; {_MEND}")
            continue
        for column, text in zip(COLUMNS, line, strict=True):
            if not _readable(column, text):
                problems.add(cell(path, row, column), f"{text!r} cannot be read; {_MEND}")


def _readable(column: str, text: str) -> bool:
    try:
        _READ.get(column, str)(text)
    except ValueError:
        return False
    return True


def _parsed(record: dict[str, str]) -> Entry:
    return Entry(**{column: _READ.get(column, str)(text) for column, text in record.items()})


def _written(entry: Entry) -> dict[str, str]:
    return {column: _text(getattr(entry, column)) for column in COLUMNS}


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6f}"
    return " ".join(value) if isinstance(value, tuple) else str(value)


def _truth(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(text)
    return text == "true"


def _finite(text: str) -> float:
    if not math.isfinite(float(text)):
        raise ValueError(text)
    return float(text)


_READ: dict[str, Callable[[str], Any]] = {
    "members": lambda text: tuple(text.split()),
    "settings": lambda text: tuple(text.split()),
    "cv_score": _finite,
    "cv_standard_error": _finite,
    "rows": int,
    "cv_squared_error": lambda text: _finite(text) if text else None,
    "cv_squared_error_standard_error": lambda text: _finite(text) if text else None,
    "solution_score": lambda text: _finite(text) if text else None,
    "test_rows": int,
    "ref": lambda text: int(text) if text else None,
    "clean": _truth,
}
