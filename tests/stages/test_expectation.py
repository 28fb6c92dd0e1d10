"""Tests of the score that a submission may be expected to have."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from projects import softvote

from softvote.ensembling.predictions import read_predictions
from softvote.stages import Run, expectation, open_run
from softvote.stages.ensemble import run as vote
from softvote.stages.expectation import describe_source, expect
from softvote.stages.plan import make_plan
from softvote.stages.submit import build_submission
from softvote.tracking.ledger import Entry, append_entry, read_ledger


@pytest.fixture
def root(finished: Path, tmp_path: Path) -> Path:
    """A project after all four stages, whose submission is expected of nobody yet."""
    root = Path(shutil.copytree(finished / "project", tmp_path / "project"))
    shutil.copy(finished / "kaggle" / "digits" / "solution.csv", root / "input" / "digits")
    return root


def load(root: Path, **keys: object) -> Run:
    path = root / "pipelines" / "tiny.yaml"
    pipeline = yaml.safe_load(path.read_text())
    pipeline["competition"] |= {"solution": "solution.csv"}
    pipeline["competition"].pop("kaggle", None)
    path.write_text(yaml.safe_dump(pipeline | keys))
    return open_run(root, "tiny")


def test_networks_of_all_folds_are_expected_to_gain(root: Path) -> None:
    plan = make_plan(load(root))
    scored, expected = read_ledger(plan.run.workspace.ledger)[-1].cv, expect(plan, "vote")
    assert expected is not None
    tests = [read_predictions(job.folder).test.argmax(axis=1) for job in plan.jobs]
    assert (tests[0] != tests[1]).any(), "networks that agree everywhere would gain nothing"
    assert scored.value < expected.value < scored.value + 0.2
    assert expected.standard_error >= scored.standard_error


def test_nothing_beyond_the_best_is_expected(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What networks gain together is added to a score of few rows, which may be near the best as it is."""
    plan = make_plan(load(root))
    monkeypatch.setattr(expectation, "expected_score", lambda cv, *_: replace(cv, value=1.02))
    expected = expect(plan, "vote")
    assert expected is not None and expected.value == 1


def test_a_submission_is_held_against_what_was_expected(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry, _ = build_submission(load(root), "vote")
    assert entry.expected is not None and entry.solution is not None
    noise = np.hypot(entry.expected.standard_error, entry.solution.standard_error)
    assert abs(entry.solution.value - entry.expected.value) < 2 * noise
    assert softvote(root, "submit", "tiny") == 0
    assert softvote(root, "leaderboard") == 0
    told = capsys.readouterr().out
    assert "expected" in told and "solution - expected" in told
    assert str(entry.expected) in told


def enter_twin(root: Path, run: Run, **facts: object) -> Entry:
    entry, _ = build_submission(run, "vote")
    twin = replace(entry, pipeline="other", cv_score=0.9, solution_score=0.85, **facts)
    append_entry(run.workspace.ledger, twin)
    return twin


def test_a_twin_with_known_answers_says_what_to_expect(root: Path) -> None:
    run = load(root, twin="other")
    twin = enter_twin(root, run)
    plan = make_plan(run)
    cv, expected = build_submission(run, "vote")[0].cv, expect(plan, "vote")
    assert expected is not None and twin.solution is not None
    assert expected.value == pytest.approx(cv.value - 0.05)
    assert expected.standard_error == pytest.approx(
        np.sqrt(cv.standard_error**2 + twin.cv.standard_error**2 + twin.solution.standard_error**2), abs=1e-5
    )
    assert "other scored" in describe_source(plan, "vote")


@pytest.mark.parametrize(
    "facts", [{"ensemble": "cnn"}, {"metric": "log_loss"}, {"folds": "2/2 + transductive"}]
)
def test_a_twin_that_did_something_else_says_nothing(root: Path, facts: dict[str, object]) -> None:
    run = load(root, twin="other")
    enter_twin(root, run, **facts)
    plan = make_plan(run)
    assert expect(plan, "vote") == expect(make_plan(load(root, twin=None)), "vote")
    assert "other has no such row" in str(vote(run))
