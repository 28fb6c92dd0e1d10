"""softvote.tracking.ledger: no row is lost, doubled or invented."""

from __future__ import annotations

import multiprocessing
import re
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from softvote.errors import UserError
from softvote.tracking.ledger import (
    LEDGER_COLUMNS,
    NEWER_COLUMNS,
    Entry,
    append_entry,
    now,
    read_ledger,
    record_submission_id,
)

ENTRY = Entry(
    pipeline="digit-recognizer",
    competition="digit-recognizer",
    ensemble="vote: mean",
    members=("cnn_small", "resnet18"),
    folds="5/5",
    cv_score=0.996125,
    cv_standard_error=0.0003,
    rows=28_000,
    test_rows=10_000,
    file="digit-recognizer-0123abcd.csv",
    sha256="0123abcd" * 8,
    commit="abc1234",
    clean=True,
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "submissions" / "ledger.csv"
    assert read_ledger(path) == []
    entries = [ENTRY, replace(ENTRY, pipeline="digit-sum", solution_score=0.5, clean=False, commit="")]
    assert [append_entry(path, entry) for entry in entries] == [True, True]
    assert read_ledger(path) == entries


def test_the_file_has_the_promised_columns_and_digits(tmp_path: Path) -> None:
    path = tmp_path / "ledger.csv"
    append_entry(path, replace(ENTRY, time="2025-01-31T12:00:00Z", cv_score=1 / 3))
    header, row = path.read_text().splitlines()
    assert header == (
        "time,pipeline,competition,ensemble,members,folds,settings,metric,decision,cv_score,cv_standard_error,rows,expected_score,"
        "expected_standard_error,cv_squared_error,"
        "cv_squared_error_standard_error,"
        "solution_score,solution_standard_error,test_rows,file,sha256,ref,kernel,device,commit,clean"
    )
    assert row == (
        "2025-01-31T12:00:00Z,digit-recognizer,digit-recognizer,vote: mean,cnn_small resnet18,5/5,,accuracy,,"
        f"0.333333,0.000300,28000,,,,,,,10000,digit-recognizer-0123abcd.csv,{ENTRY.sha256},,,,abc1234,true"
    )


def test_time_is_utc_in_seconds() -> None:
    text = now()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", text)
    assert abs(datetime.fromisoformat(text).timestamp() - time.time()) < 60


def test_the_same_facts_are_written_once(tmp_path: Path) -> None:
    path = tmp_path / "ledger.csv"
    assert append_entry(path, ENTRY)
    before = path.read_bytes()
    again = replace(ENTRY, time="2099-01-01T00:00:00Z", cv_score=0.9961250001, commit="def5678", clean=False)
    assert not append_entry(path, again)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "change",
    [
        {"sha256": "f" * 64},
        {"settings": ("seed=1",)},
        {"ensemble": "vote: greedy"},
        {"cv_score": 0.9962},
        {"solution_score": 0.9},
        {"kernel": "tester/softvote-digits-infer/1"},
    ],
)
def test_a_changed_fact_is_a_new_row(tmp_path: Path, change: dict[str, object]) -> None:
    path = tmp_path / "ledger.csv"
    append_entry(path, ENTRY)
    assert append_entry(path, replace(ENTRY, **change))  # type: ignore[arg-type]
    assert len(read_ledger(path)) == 2


def test_only_the_newest_row_of_the_same_pipeline_counts(tmp_path: Path) -> None:
    path = tmp_path / "ledger.csv"
    other = replace(ENTRY, pipeline="digit-sum")
    changed = replace(ENTRY, sha256="f" * 64)
    written = [append_entry(path, entry) for entry in (ENTRY, other, ENTRY, changed, ENTRY)]
    assert written == [True, True, False, True, True]


def test_a_ref_goes_into_the_newest_row_of_its_submission(tmp_path: Path) -> None:
    path = tmp_path / "ledger.csv"
    other = replace(ENTRY, pipeline="digit-sum")
    for entry in (ENTRY, replace(ENTRY, cv_score=0.5), other):
        append_entry(path, entry)
    record_submission_id(path, ENTRY, 123)
    assert [entry.ref for entry in read_ledger(path)] == [None, 123, None]


def test_a_ref_is_no_new_fact(tmp_path: Path) -> None:
    path = tmp_path / "ledger.csv"
    append_entry(path, ENTRY)
    record_submission_id(path, ENTRY, 123)
    assert not append_entry(path, ENTRY)
    record_submission_id(path, ENTRY, 123)
    assert [entry.ref for entry in read_ledger(path)] == [123]


def test_what_is_sent_again_has_a_row_again(tmp_path: Path) -> None:
    path = tmp_path / "ledger.csv"
    append_entry(path, ENTRY)
    for ref in (123, 124, 123):
        record_submission_id(path, ENTRY, ref)
    assert [entry.ref for entry in read_ledger(path)] == [123, 124]


def test_a_ref_goes_to_what_was_written_here(tmp_path: Path) -> None:
    path = tmp_path / "ledger.csv"
    for entry in (ENTRY, replace(ENTRY, kernel="tester/softvote-digits-infer/1")):
        append_entry(path, entry)
    record_submission_id(path, ENTRY, 123)
    assert [entry.ref for entry in read_ledger(path)] == [123, None]


def test_a_ref_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no digit-recognizer"):
        record_submission_id(tmp_path / "ledger.csv", ENTRY, 123)


def test_another_voter_in_between_makes_no_new_row(tmp_path: Path) -> None:
    path = tmp_path / "ledger.csv"
    member = replace(ENTRY, ensemble="cnn", sha256="f" * 64)
    assert [append_entry(path, entry) for entry in (ENTRY, member, ENTRY)] == [True, True, False]


def test_what_a_kernel_wrote_does_not_hide_what_was_written_here(tmp_path: Path) -> None:
    path = tmp_path / "ledger.csv"
    on_kaggle = replace(ENTRY, kernel="tester/softvote-digits-infer/1")
    written = [append_entry(path, entry) for entry in (ENTRY, on_kaggle, ENTRY, on_kaggle)]
    assert written == [True, True, False, False]


def append_many(path: Path, writer: int) -> None:
    for number in range(15):
        append_entry(path, replace(ENTRY, pipeline=f"p{writer}", rows=number))


def test_two_writers_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "ledger.csv"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=append_many, args=(path, writer)) for writer in range(2)]
    for process in writers:
        process.start()
    for process in writers:
        process.join(30)
    found = sorted((entry.pipeline, entry.rows) for entry in read_ledger(path))
    assert found == [(f"p{writer}", number) for writer in range(2) for number in range(15)]


GOOD = [
    "t",
    "p",
    "d",
    "e",
    "m",
    "5/5",
    "a.b=1",
    "log_loss",
    "probabilities",
    "0.9",
    "0.01",
    "100",
    "0.6",
    "0.1",
    "0.5",
    "0.1",
    "0.8",
    "0.02",
    "50",
    "f.csv",
    "abc",
    "123",
    "u/k/1",
    "NVIDIA H100",
    "c",
    "false",
]


def damage(column: str, text: str) -> str:
    lines = [list(LEDGER_COLUMNS), list(GOOD), list(GOOD)]
    lines[2][LEDGER_COLUMNS.index(column)] = text
    return "".join(",".join(line) + "\n" for line in lines)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("", "row 1: the header"),
        ("time,pipeline\n", "row 1: the header"),
        (damage("clean", "true,1"), "row 3: 27 columns, not 26"),
        (damage("clean", "yes"), "row 3, column clean: 'yes'"),
        (damage("cv_score", ""), "row 3, column cv_score: ''"),
        (damage("cv_score", "nan"), "row 3, column cv_score: 'nan'"),
        (damage("solution_score", "high"), "row 3, column solution_score: 'high'"),
        (damage("cv_squared_error", "small"), "row 3, column cv_squared_error: 'small'"),
        (damage("ref", "12a"), "row 3, column ref: '12a'"),
        (damage("rows", "1.5"), "row 3, column rows: '1.5'"),
        (damage("file", '"f'), "cannot be read"),
        (damage("file", "f") + "<<<<<<< HEAD\n", "row 4: 1 column, not 26"),
    ],
)
def test_a_damaged_ledger_is_told_and_left_alone(tmp_path: Path, text: str, where: str) -> None:
    path = tmp_path / "ledger.csv"
    path.write_text(text)
    for use in (lambda: read_ledger(path), lambda: append_entry(path, ENTRY)):
        with pytest.raises(UserError) as caught:
            use()
        assert where in str(caught.value)
    assert path.read_text() == text


def test_what_could_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "ledger.csv"
    with pytest.raises(ValueError):
        append_entry(path, replace(ENTRY, cv_score=float("nan")))
    assert not path.exists()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "submissions").write_text("a file in the way")
    with pytest.raises(UserError, match="cannot be written"):
        append_entry(tmp_path / "submissions" / "ledger.csv", ENTRY)


NEWER = list(NEWER_COLUMNS)


@pytest.mark.parametrize("missing", [NEWER[:1], NEWER[1:], NEWER], ids=", ".join)
def test_a_ledger_of_before_there_were_such_columns_is_read_and_goes_on(
    tmp_path: Path, missing: list[str]
) -> None:
    path = tmp_path / "ledger.csv"
    append_entry(path, ENTRY)
    header, row = path.read_text().splitlines()
    kept = [place for place, column in enumerate(LEDGER_COLUMNS) if column not in missing]
    older = [",".join(line.split(",")[place] for place in kept) for line in (header, row)]
    path.write_text("\n".join(older) + "\n")
    assert read_ledger(path) == [ENTRY]
    assert not append_entry(path, ENTRY)
    newer = replace(ENTRY, device="NVIDIA H100 80GB HBM3", metric="log_loss", decision="probabilities")
    assert append_entry(path, newer)
    assert read_ledger(path) == [ENTRY, newer] and path.read_text().startswith(header)


@pytest.mark.parametrize(
    ("metric", "shown", "greater"),
    [
        ("accuracy", "31.00 ± 1.00 %", True),
        ("log_loss", "0.3100 ± 0.0100", False),
        ("f_beta {average: samples, beta: 3.0}", "0.3100 ± 0.0100", True),
        ("something {of: tomorrow}", "0.3100 ± 0.0100", True),
    ],
)
def test_a_score_is_shown_as_its_metric_is(metric: str, shown: str, greater: bool) -> None:
    entry = replace(ENTRY, metric=metric, cv_score=0.31, cv_standard_error=0.01)
    assert str(entry.cv) == shown
    assert entry.scored_by.greater_is_better == greater


def test_the_error_of_other_scores_grows_as_rows_get_fewer() -> None:
    entry = replace(ENTRY, metric="log_loss", cv_score=0.31, cv_standard_error=0.01, rows=40_000)
    assert entry.score_on_test_rows(1.27, 10_000).standard_error == pytest.approx(0.02)
    assert replace(entry, solution_score=0.3, solution_standard_error=0.5).solution.standard_error == 0.5  # type: ignore[union-attr]
