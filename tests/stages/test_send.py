"""softvote submit --send: once, with its number in the ledger, whatever Kaggle answers."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import projects
import pytest
from kaggle_place import LEAK, Clock, Failure, Place, contents, forget_package, set_environment
from projects import softvote, write_pipeline

from softvote import progress
from softvote.errors import UserError
from softvote.stages.send import refuse_repetition
from softvote.storage.paths import Workspace
from softvote.tracking.ledger import Entry, append_entry

LEDGER = "submissions/ledger.csv"
FIRST = 40_000_001  # the server's first number
BEFORE = ["ListSubmissions", "GetSubmissionLimits"]
SENDING = ["StartSubmissionUpload", "Upload", "CreateSubmission"]
LATER = "was sent, and nothing more is to be done; see its score with make leaderboard"
PENDING = f"score of {FIRST}: pending, 0:00 of at most 20:00"
RULES = "https://www.kaggle.com/competitions/digits/rules"


def file_of(place: Place) -> str:
    [name] = [path.name for path in (place.root / "submissions").glob("tiny-*.csv")]
    return name


def at_kaggle(place: Place) -> list[dict[str, Any]]:
    """What was sent, the newest first."""
    return list(place.server.submissions["digits"])


def accuracy_of(place: Place) -> float:
    """The share of a submission's labels that the server's solution has."""
    paths = place.root / "submissions" / file_of(place), place.server.folder / "digits" / "solution.csv"
    ours, truth = (list(csv.reader(path.read_text().splitlines()))[1:] for path in paths)
    return sum(a == b for a, b in zip(ours, truth, strict=True)) / len(truth)


def find_changes(place: Place, before: dict[str, bytes | None]) -> set[str]:
    after = contents(place.root)
    return {name for name in before | after if before.get(name, 0) != after.get(name, 0)}


# ---------------------------------------------------------------- it goes through


def test_it_is_sent_and_scored(place: Place) -> None:
    before = contents(place.root)
    told = place.done("submit", "tiny", "--send")
    path = place.root / "submissions" / file_of(place)
    assert told.out.splitlines()[-2:] == [
        f"sent {path} to digits as {FIRST}; 9 more may be sent today",
        f"digits: public {accuracy_of(place):.3%}; compare with: make leaderboard",
    ]
    assert told.err == [PENDING]
    assert place.asked() == BEFORE + SENDING + ["ListSubmissions"] * 3
    [entry], [sent] = place.entries(), at_kaggle(place)
    assert (entry.ref, sent["ref"]) == (FIRST, FIRST)
    assert (sent["fileName"], sent["totalBytes"]) == (path.name, path.stat().st_size)
    words, _, sha256 = sent["description"].rpartition(", sha256 ")
    assert words.startswith("tiny, vote: mean, cross-validation ") and sha256 == entry.sha256
    assert find_changes(place, before) == {LEDGER}


def test_nothing_is_asked_without_send(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    forget_package(monkeypatch)
    before = contents(place.root)
    place.done("submit", "tiny")
    assert place.asked() == []
    assert "kaggle" not in sys.modules
    assert contents(place.root) == before


def test_no_wait(place: Place) -> None:
    told = place.done("submit", "tiny", "--send", "--no-wait")
    assert told.out.endswith(f" to digits as {FIRST}; 9 more may be sent today\n")
    assert told.err == []
    assert place.asked() == BEFORE + SENDING
    assert [entry.ref for entry in place.entries()] == [FIRST]


def test_a_member_alone(place: Place) -> None:
    place.done("submit", "tiny", "--member=cnn", "--send", "--no-wait")
    assert [(entry.ensemble, entry.ref) for entry in place.entries()] == [
        ("vote: mean", None),
        ("cnn", FIRST),
    ]


# ---------------------------------------------------------------- not twice


def test_the_same_file_is_not_sent_twice(place: Place) -> None:
    place.done("submit", "tiny", "--send")
    place.asked()
    line = place.refused("submit", "tiny", "--send")
    assert line == (
        f"{file_of(place)}: was sent as {FIRST} from tiny; see its score with make leaderboard, "
        "or send it again with FORCE=1 (--force)"
    )
    assert place.asked() == []


@pytest.mark.parametrize(
    ("sent", "refused"),
    [({"pipeline": "other"}, True), ({"sha256": "1" * 64}, False), ({"competition": "other"}, False),
     ({"ref": None}, False)],
    ids=str,
)  # fmt: skip
def test_the_same_content_is_sent_to_a_competition_once(
    tmp_path: Path, sent: dict[str, Any], refused: bool
) -> None:
    """Whatever pipeline it is of."""
    workspace = Workspace(tmp_path)
    entry = Entry(
        pipeline="tiny", competition="digits", ensemble="vote: mean", members=("cnn",), folds="2/2",
        cv_score=0.5, cv_standard_error=0.1, rows=10, test_rows=5, file="tiny-0.csv", sha256="0" * 64,
        commit="", clean=True,
    )  # fmt: skip
    append_entry(workspace.ledger, dataclasses.replace(entry, **({"ref": 7} | sent)))
    run: Any = SimpleNamespace(workspace=workspace)
    with pytest.raises(UserError, match="from other") if refused else contextlib.nullcontext():
        refuse_repetition(run, entry)


def test_again(place: Place) -> None:
    place.done("submit", "tiny", "--send")
    told = place.done("submit", "tiny", "--send", "--force")
    assert f"as {FIRST + 1}; 8 more may be sent today" in told.out
    assert [sent["ref"] for sent in at_kaggle(place)] == [FIRST + 1, FIRST]
    old, new = place.entries()
    assert (old.ref, new.ref, old.sha256) == (FIRST, FIRST + 1, new.sha256)


def test_what_another_computer_sent_is_not_sent_again(place: Place) -> None:
    [entry] = place.entries()
    sent = {"ref": 7, "date": "2025-01-31T12:00:00.5Z", "status": "COMPLETE", "publicScore": "0.5"}
    place.server.submissions["digits"] = [
        sent | {"ref": 9, "description": f"by hand, of sha256 {'0' * 64}"},
        sent | {"description": f"elsewhere, sha256 {entry.sha256}"},
    ]
    line = place.refused("submit", "tiny", "--send", changes=[LEDGER])
    assert line == (
        f"{entry.file}: was sent as 7 at 2025-01-31T12:00:00Z, which the ledger now knows; "
        "see its score with make leaderboard, or send it again with FORCE=1 (--force)"
    )
    assert place.asked() == ["ListSubmissions"]
    assert [entry.ref for entry in place.entries()] == [7]
    assert "from tiny" in place.refused("submit", "tiny", "--send")
    assert place.asked() == []


@pytest.mark.parametrize("arrived", [True, False])
def test_a_lost_answer_is_looked_for_before_anything_is_sent_again(place: Place, arrived: bool) -> None:
    place.server.fail("CreateSubmission", Failure(drop=True, lost=arrived))
    line = place.refused("submit", "tiny", "--send")
    assert line == (
        f"Kaggle, sending {file_of(place)} to digits: no connection, or it broke off; "
        "it may have arrived: look with make leaderboard before sending it again"
    )
    assert [entry.ref for entry in place.entries()] == [None]
    assert len(at_kaggle(place)) == arrived
    if arrived:
        line = place.refused("submit", "tiny", "--send", changes=[LEDGER])
        assert f": was sent as {FIRST} at " in line and "which the ledger now knows" in line
    else:
        place.done("submit", "tiny", "--send")
    assert [sent["ref"] for sent in at_kaggle(place)] == [FIRST]
    assert [entry.ref for entry in place.entries()] == [FIRST]


# ---------------------------------------------------------------- refused


@pytest.mark.parametrize("facts", [{"solution": "solution.csv"}, {"solution": None}])
def test_a_demo_is_never_sent(place: Place, facts: dict[str, Any]) -> None:
    write_pipeline(place.root, projects.pipeline(competition=projects.competition(**facts)), "demo")
    line = place.refused("submit", "demo", "--send")
    assert line == (
        "demo: digits is not hosted on Kaggle (competition.kaggle names no address); nothing was sent"
    )
    assert place.asked() == []


def test_a_trial_is_never_sent(place: Place) -> None:
    trial = "defaults.batch_size=64"
    for stage in ("train", "ensemble"):
        place.done(stage, "tiny", f"--set={trial}")
    line = place.refused("submit", "tiny", "--send", f"--set={trial}")
    words = "tiny: a trial with --set is never sent; write a pipeline that extends tiny with"
    assert line == f"{words} {trial}"
    assert place.asked() == []
    place.refused("submit", "tiny", "--send")  # nor are the networks of a trial, under the plain file
    assert place.asked() == []


def test_the_quota_is_used_up(place: Place) -> None:
    limits = {"numToday": 5, "numTotal": 9, "numAllowedNow": 0}
    place.server.fail("GetSubmissionLimits", Failure(body=json.dumps(limits).encode()))
    line = place.refused("submit", "tiny", "--send")
    words = "digits: 5 submissions were sent today and none is left; the quota resets at midnight UTC, in "
    assert line.startswith(words)
    assert place.asked() == BEFORE


def test_no_credentials(place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    set_environment(monkeypatch, {}, tmp_path)
    forget_package(monkeypatch)
    line = place.refused("submit", "tiny", "--send")
    assert line.startswith("Kaggle, signing in: no credentials that can be used in ~/.kaggle; make a token")
    assert place.asked() == []


DOING = {
    "ListSubmissions": "listing the submissions to digits",
    "GetSubmissionLimits": "asking for the quota of digits",
    "StartSubmissionUpload": "sending {file} to digits",
    "Upload": "uploading {file}",
    "CreateSubmission": "sending {file} to digits",
}
FAILURES = {
    "400": (Failure(400, LEAK), "400, No key ***, Authorization: Basic ***, see ***"),
    "401": (Failure(401, LEAK), "401, wrong or expired credentials in KAGGLE_KEY; make a token at https://"),
    "403": (Failure(403, "No"), f"403, No; join the competition and accept its rules at {RULES}"),
    "404": (Failure(404, "No"), "404, No; its name is the last part of its address: is there https://"),
    "429": (Failure(429, LEAK, {"Retry-After": "7200"}), "429, too many requests; try again in 120 min"),
    "502": (Failure(502, LEAK), "502, No key ***, "),
    "html": (Failure(503, body=f"<p>{LEAK}</p>".encode()), "503, Service Unavailable; "),
    "drop": (Failure(drop=True), "no connection, or it broke off; "),
}


@pytest.mark.slow_but(
    "400-CreateSubmission",
    "401-GetSubmissionLimits",
    "403-StartSubmissionUpload",
    "403-Upload",
    "404-ListSubmissions",
    "429-Upload",
    "502-CreateSubmission",
    "html-StartSubmissionUpload",
    "drop-CreateSubmission",
)
@pytest.mark.parametrize("call", DOING)
@pytest.mark.parametrize("kind", FAILURES)
def test_a_failure_leaves_all_as_it_was(place: Place, call: str, kind: str) -> None:
    failure, words = FAILURES[kind]
    if call == "Upload":  # by a signed address: nobody asks there who has joined what
        words = words.partition("; join")[0].partition("; its name")[0]
    place.server.fail(call, failure)
    line = place.refused("submit", "tiny", "--send")
    assert line.startswith(f"Kaggle, {DOING[call].format(file=file_of(place))}: {words}")
    assert at_kaggle(place) == []
    asked = place.asked()
    assert asked[: asked.index(call) + 1] == (BEFORE + SENDING)[: asked.index(call) + 1]
    assert asked.count(call) == 1, "asked again"
    place.done("submit", "tiny", "--send")
    assert [entry.ref for entry in place.entries()] == [FIRST]


@pytest.mark.parametrize("call", DOING)
def test_too_many_requests_are_waited_for(place: Place, call: str) -> None:
    place.server.fail(call, Failure(429, LEAK, {"Retry-After": "0"}), Failure(429, LEAK))
    told = place.done("submit", "tiny", "--send")
    doing = DOING[call].format(file=file_of(place))
    waits = [f"Kaggle, {doing}: too many requests, waiting {seconds} s" for seconds in (0, 10)]
    assert told.err == [*waits, PENDING]
    assert place.clock.waits[:2] == [0, 10]
    assert [entry.ref for entry in place.entries()] == [FIRST]
    assert len(at_kaggle(place)) == 1


def test_too_many_requests_for_ever(place: Place) -> None:
    place.server.fail("CreateSubmission", *[Failure(429, LEAK)] * 9)
    doing = f"Kaggle, sending {file_of(place)} to digits"
    waits = [f"{doing}: too many requests, waiting {seconds} s" for seconds in (5, 10, 20, 40)]
    line = place.refused("submit", "tiny", "--send", told=waits)
    assert line == f"{doing}: 429, too many requests; try again in 60 min"
    assert place.asked().count("CreateSubmission") == 5
    assert at_kaggle(place) == []


# ---------------------------------------------------------------- the wait for the score


def test_kaggle_cannot_score_it(place: Place) -> None:
    sample = place.server.folder / "digits" / "sample_submission.csv"
    sample.write_text("".join(sample.read_text().splitlines(keepends=True)[:-1]))
    line = place.refused("submit", "tiny", "--send", told=[PENDING], changes=[LEDGER])
    assert line == f"digits: {FIRST} was not scored: Submission must have 99 rows"
    assert [entry.ref for entry in place.entries()] == [FIRST]


@pytest.mark.parametrize("passing", [Failure(drop=True), Failure(502, LEAK), Failure(body=b"<html>")])
def test_a_lost_answer_does_not_end_the_wait(place: Place, passing: Any) -> None:
    place.server.fail("ListSubmissions", Failure(), Failure(), passing)
    told = place.done("submit", "tiny", "--send")
    assert told.out.endswith(f"digits: public {accuracy_of(place):.3%}; compare with: make leaderboard\n")
    states = ["pending, 0:00", "no answer, 0:01", "pending, 0:02"]
    assert told.err == [f"score of {FIRST}: {state} of at most 20:00" for state in states]


@pytest.mark.parametrize("answers", [[Failure(drop=True)] * 99, []])
def test_the_wait_is_given_up(place: Place, answers: list[Any]) -> None:
    place.server.polls = 99
    place.server.fail("ListSubmissions", Failure(), *answers)
    told = place.done("submit", "tiny", "--send")
    line = f"{FIRST} was sent and is not scored yet; look later with: make leaderboard"
    assert told.out.splitlines()[-1] == line
    assert 20 * 60 <= sum(place.clock.waits) < 21 * 60
    assert [entry.ref for entry in place.entries()] == [FIRST]


@pytest.mark.parametrize("kind", ["400", "401", "403", "404", "429"])
def test_a_refusal_in_the_wait_says_that_it_was_sent(place: Place, kind: str) -> None:
    failure, words = FAILURES[kind]
    place.server.fail("ListSubmissions", Failure(), Failure(), failure)
    line = place.refused("submit", "tiny", "--send", told=[PENDING], changes=[LEDGER])
    assert line.startswith(f"Kaggle, listing the submissions to digits: {words}")
    assert line.endswith(f"; {FIRST} {LATER}")
    assert [entry.ref for entry in place.entries()] == [FIRST]


def _interrupt(_: float) -> None:
    raise KeyboardInterrupt


def test_ctrl_c_in_the_wait_says_that_it_was_sent(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place.clock, "sleep", _interrupt)
    line = place.refused("submit", "tiny", "--send", told=[PENDING], changes=[LEDGER], exit_code=130)
    assert line == f"stopped waiting; {FIRST} {LATER}"
    assert [entry.ref for entry in place.entries()] == [FIRST]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_ctrl_c_at_a_terminal_leaves_a_line_of_its_own(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(place.clock, "sleep", _interrupt)
    monkeypatch.setattr(sys, "stderr", terminal)
    assert softvote(place.root, "submit", "tiny", "--send") == 130
    shown, _, line = terminal.getvalue().rpartition("\r\x1b[K")
    assert shown == f"\r{PENDING}\x1b[K"
    assert line == f"softvote: stopped waiting; {FIRST} {LATER}\n"


def test_the_number_is_told_even_if_the_ledger_cannot_take_it(place: Place) -> None:
    ledger = place.root / LEDGER
    place.server.log = lambda line: "CreateSubmission" in line and ledger.write_text("damaged\n")
    told = place.softvote("submit", "tiny", "--send")
    assert told.code == 1
    assert f" to digits as {FIRST}; " in told.out
    assert [line.partition(", row 1: ")[0] for line in told.err] == [f"softvote: {ledger}"]
    assert ledger.read_text() == "damaged\n"


def test_time_stands_for_the_time_of_the_wait(place: Place) -> None:
    """Else these tests would really wait."""
    assert isinstance(progress.time, Clock)
