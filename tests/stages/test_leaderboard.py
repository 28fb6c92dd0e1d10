"""softvote leaderboard: every submission is fetched, and stands beside what cross-validation said of it."""

from __future__ import annotations

import csv
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import projects
import pytest
from kaggle_place import LEAK, Failure, Place, contents, forget_package, set_environment
from projects import write_pipeline

from softvote.metrics.scores import score_of_proportion
from softvote.storage.paths import Workspace
from softvote.tracking.ledger import Entry, append_entry

BOARD, PICTURE = "submissions/leaderboard.csv", "submissions/leaderboard.png"
DOING = "Kaggle, listing the submissions to digits"


def listed_submission(ref: int, status: str = "COMPLETE", **facts: Any) -> dict[str, Any]:
    """A submission as Kaggle lists it."""
    date = f"2025-01-{ref % 28 + 1:02}T12:00:00.5Z"
    return {"ref": ref, "fileName": f"{ref}.csv", "date": date, "status": status, "description": ""} | facts


def enter(place: Place, name: str, **facts: Any) -> Entry:
    """A row of the ledger, of a file whose sha256 is made of its name's first letter."""
    [*_, entry] = place.entries()
    own = {"pipeline": name, "sha256": f"{ord(name[0]):02x}" * 32, "ref": None, "kernel": ""}
    made = replace(entry, **own | facts)
    assert append_entry(Workspace(place.root).ledger, made)
    return made


def board(place: Place) -> list[dict[str, str]]:
    with (place.root / BOARD).open(newline="") as file:
        return list(csv.DictReader(file))


def rows(text: str) -> dict[str, list[str]]:
    """The words of each line of a table by the first."""
    return {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.strip()}


# ---------------------------------------------------------------- fetched


def test_submissions_of_three_pages(place: Place) -> None:
    [entry] = place.entries()
    others = [listed_submission(ref, publicScore=f"{ref / 100}") for ref in range(45, 0, -1) if ref != 30]
    mine = listed_submission(30, publicScore="0.5", description=f"sha256 {entry.sha256}")
    place.server.submissions["digits"] = sorted([*others, mine], key=lambda row: -row["ref"])
    before = contents(place.root)
    told = place.done("leaderboard", "--fetch")
    assert told.out.startswith(f"digits: 45 submissions into {place.root / BOARD}\n")
    assert place.asked() == ["ListSubmissions"] * 3
    assert {row["ref"]: row["public"] for row in board(place)} == {
        str(ref): "0.500000" if ref == 30 else f"{ref / 100:.6f}" for ref in range(1, 46)
    }
    assert str(score_of_proportion(0.5, 100)) in told.out
    assert "44 submissions on the leaderboard of no file in the ledger" in told.out
    assert told.out.endswith(f"wrote {place.root / PICTURE}\n")
    assert (place.root / PICTURE).read_bytes().startswith(b"\x89PNG")
    after = contents(place.root)
    assert after.keys() - before.keys() == {BOARD, PICTURE}
    assert {name: after[name] for name in before} == before


def test_submissions_of_every_kind(place: Place) -> None:
    """Found by their number, or by the sha256 in what was said of them."""
    enter(place, "by-ref", ref=1)
    by_sha256 = enter(place, "other")
    kinds = {"queue": "PENDING", "fails": "ERROR", "empty": "COMPLETE"}
    entries = {name: enter(place, name) for name in kinds}
    for name in ["by-ref", "other", *kinds]:
        competition = projects.competition(solution=None, kaggle="digits", public_share=0.5)
        write_pipeline(place.root, projects.pipeline(competition=competition), name)
    place.server.submissions["digits"] = [
        listed_submission(
            5, "COMPLETE", description=f"sha256 {entries['empty'].sha256}", publicScore="", privateScore=""
        ),
        listed_submission(
            4, "ERROR", description=f"sha256 {entries['fails'].sha256}", errorDescription="No\nrow 7"
        ),
        listed_submission(3, "PENDING", description=f"sha256 {entries['queue'].sha256}"),
        listed_submission(
            2, publicScore="0.6", privateScore="0.5", description=f"by hand: sha256 {by_sha256.sha256}"
        ),
        listed_submission(1, publicScore="0.9", description="whatever people write"),
    ]
    told = place.done("leaderboard", "--fetch")
    table = rows(told.out)
    assert {row["ref"]: row["status"] for row in board(place)} == {
        "1": "complete", "2": "complete", "3": "pending", "4": "error", "5": "complete",
    }  # fmt: skip
    assert table["queue"][-1] == "pending"
    assert table["fails"][-4:] == ["error:", "No", "row", "7"]
    assert table["empty"][-2:] == ["no", "score"]
    assert table["tiny"][-2:] == ["not", "sent"]
    assert table["by-ref"][-1] == table["other"][-1] == "scored"
    for score in (0.9, 0.6, 0.5):
        assert str(score_of_proportion(score, 50)) in told.out  # public_share of 100 rows
    assert "2 scored rows, too few for a rank correlation" in told.out


def test_a_solution_stands_in_the_same_table(place: Place) -> None:
    write_pipeline(
        place.root, projects.pipeline(competition=projects.competition(name="solved")), "local-demo"
    )
    enter(place, "local-demo", competition="solved", solution_score=0.75, ref=None)
    place.done("submit", "tiny", "--send")
    place.asked()
    told = place.done("leaderboard", "--fetch")
    assert place.asked() == ["ListSubmissions"]
    assert [line for line in told.out.splitlines() if line in ("digits", "solved")] == ["digits", "solved"]
    assert rows(told.out)["local-demo"][-1] == "solution.csv"
    assert str(score_of_proportion(0.75, 100)) in told.out
    assert {row["competition"] for row in board(place)} == {"digits"}


def test_what_was_sent_shows_its_score(place: Place) -> None:
    place.done("submit", "tiny", "--send", "--no-wait")
    assert rows(place.done("leaderboard", "--fetch").out)["tiny"][-1] == "pending"
    place.done("leaderboard", "--fetch")
    assert rows(place.done("leaderboard", "--fetch").out)["tiny"][-1] == "scored"


# ---------------------------------------------------------------- not fetched


def test_nothing_is_asked_without_fetch(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.done("submit", "tiny", "--send")
    fetched = place.done("leaderboard", "--fetch").out
    place.asked()
    forget_package(monkeypatch)
    before = contents(place.root)
    told = place.done("leaderboard")
    assert told.out == fetched.partition("\n")[2]
    assert place.asked() == []
    assert "kaggle" not in sys.modules
    assert contents(place.root) == before


@pytest.mark.parametrize("words", [[], ["--fetch"]])
def test_no_ledger_at_all(place: Place, words: list[str]) -> None:
    (place.root / "submissions" / "ledger.csv").unlink()
    before = contents(place.root)
    told = place.done("leaderboard", *words)
    nothing = "no competition of the ledger is hosted on Kaggle; nothing to fetch\n" if words else ""
    show = "nothing to show: the ledger has no submission yet; build one with make submit\n"
    assert told == (0, nothing + show, [])
    assert place.asked() == []
    assert contents(place.root) == before


# ---------------------------------------------------------------- damage


@pytest.mark.parametrize("words", [[], ["--fetch"]])
def test_a_damaged_leaderboard(place: Place, words: list[str]) -> None:
    place.done("submit", "tiny", "--send")
    place.done("leaderboard", "--fetch")
    file = place.root / BOARD
    file.write_text(file.read_text().replace("complete", "perhaps"))
    line = place.refused("leaderboard", *words)
    assert line == (
        f"{file}, row 2, column status: 'perhaps' cannot be read; "
        "fix it, or take it away and fetch it again: make leaderboard"
    )


def test_a_damaged_ledger(place: Place) -> None:
    file = place.root / "submissions" / "ledger.csv"
    file.write_text(file.read_text().replace("true", "yes").replace("false", "no"))
    line = place.refused("leaderboard", "--fetch")
    assert line.startswith(f"{file}, row 2, column clean: ")
    assert place.asked() == []


def test_a_broken_pipeline_hides_no_other(place: Place) -> None:
    for name, text in {"broken": "members: [", "unknown": "colour: red\n"}.items():
        enter(place, name)
        (place.root / "pipelines" / f"{name}.yaml").write_text(text)
    enter(place, "missing", competition="elsewhere")
    told = place.done("leaderboard", "--fetch")
    assert told.out.startswith("digits: 0 submissions into ")
    assert rows(told.out).keys() >= {"tiny", "broken", "unknown", "missing"}


@pytest.mark.parametrize(
    ("failures", "words"),
    [
        ([Failure(401, LEAK)], "401, wrong or expired credentials in KAGGLE_KEY; make a token at"),
        ([Failure(), Failure(401, LEAK)], "401, wrong or expired credentials in KAGGLE_KEY; make a token at"),
        ([Failure(drop=True)], "no connection, or it broke off; check the network and run the same command"),
        ([Failure(), Failure(), Failure(drop=True)], "no connection, or it broke off; check the network"),
        ([Failure(403, "No")], "403, No; join the competition and accept its rules at https://"),
        ([Failure(404, "No")], "404, No; its name is the last part of its address: is there https://"),
        ([Failure(body=b"<html>")], "the answer cannot be understood"),
    ],
)
def test_a_failed_fetch_leaves_all_as_it_was(place: Place, failures: list[Any], words: str) -> None:
    place.server.submissions["digits"] = [
        listed_submission(ref, publicScore="0.5") for ref in range(45, 0, -1)
    ]
    place.done("leaderboard", "--fetch")
    place.server.submissions["digits"].insert(0, listed_submission(46))
    place.server.fail("ListSubmissions", *failures)
    line = place.refused("leaderboard", "--fetch")
    assert line.startswith(f"{DOING}: {words}")
    assert len(board(place)) == 45


def test_another_account_takes_no_known_score_away(place: Place) -> None:
    place.done("submit", "tiny", "--send")
    [entry] = [entry for entry in place.entries() if entry.ref]
    enter(place, "never-fetched", ref=7)
    place.server.submissions["digits"].append(listed_submission(3, publicScore="0.5"))
    place.done("leaderboard", "--fetch")
    before = board(place)
    place.server.submissions["digits"] = []
    told = place.done("leaderboard", "--fetch")
    assert board(place) == before and len(before) == 2
    assert told.out.splitlines()[:2] == [
        f"digits: 0 submissions into {place.root / BOARD}",
        f"digits: Kaggle does not list 3, 7, {entry.ref} for tester; what is known of them stays. They may "
        "have been sent from another account or team: sign in with that one and fetch again",
    ]
    assert rows(told.out)["tiny"][-1] == "scored"


def test_another_metric(place: Place) -> None:
    place.done("leaderboard", "--fetch")
    place.server.submissions["digits"] = [listed_submission(1, publicScore="17.5")]
    told = place.done("leaderboard", "--fetch")
    assert "digits: 1 submission into" in told.out
    assert board(place)[0]["public"] == "17.500000"


def test_no_credentials(place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    set_environment(monkeypatch, {}, tmp_path)
    forget_package(monkeypatch)
    line = place.refused("leaderboard", "--fetch")
    assert line.startswith("Kaggle, signing in: no credentials that can be used in ~/.kaggle; make a token")


def test_too_many_requests_are_waited_for(place: Place) -> None:
    place.server.fail("ListSubmissions", Failure(429, LEAK, {"Retry-After": "2"}))
    told = place.done("leaderboard", "--fetch")
    assert told.err == [f"{DOING}: too many requests, waiting 2 s"]


def test_each_competition_is_fetched_on_its_own(place: Place) -> None:
    competition = projects.competition(name="second", solution=None, kaggle="gone")
    write_pipeline(place.root, projects.pipeline(competition=competition), "second")
    place.server.submissions["digits"] = [listed_submission(1)]
    place.done("leaderboard", "--fetch")
    enter(place, "second", competition="second")
    place.server.submissions["digits"].append(listed_submission(4))
    line = place.refused("leaderboard", "--fetch", changes=[BOARD, PICTURE])
    assert line.startswith("Kaggle, listing the submissions to gone: 404, Not Found; ")
    assert [row["ref"] for row in board(place)] == ["4", "1"]
    place.server.submissions["digits"].pop()
    competition["kaggle"] = "digits-2"
    write_pipeline(place.root, projects.pipeline(competition=competition), "second")
    shutil.copytree(place.server.folder / "digits", place.server.folder / "digits-2")
    place.server.submissions["digits-2"] = [listed_submission(2)]
    place.server.submissions["digits"] = [listed_submission(3), listed_submission(1)]
    place.done("leaderboard", "--fetch")
    found = [(row["competition"], row["ref"]) for row in board(place)]
    assert found == [("digits", "4"), ("digits", "3"), ("digits", "1"), ("second", "2")]
