"""The competition's metric through the stages: what is decided, kept, submitted, entered and compared."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import projects
import pytest
from conftest import Digits
from projects import softvote, times, write_pipeline, write_project
from sklearn.metrics import cohen_kappa_score, log_loss

from softvote.ensembling.records import ScoreRecord
from softvote.kaggle.notebook import build_kernel
from softvote.stages import open_run
from softvote.stages.plan import make_plan
from softvote.tracking.ledger import read_ledger

TRAIN, TEST = 200, 60
GRADES = {"ordered": True, "metric": "quadratic_weighted_kappa"}


def facts(decision: str | None, **competition: Any) -> dict[str, Any]:
    said = {"decision": decision} if decision else {}
    members = {"cnn": {"model": "cnn"}, "again": {"model": "cnn"}}
    return projects.pipeline(competition=projects.competition(**competition), members=members, **said)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, digits: Digits) -> Path:
    """A project of grades 0..9 after submit, with cut points that somebody asked for."""
    root = write_project(tmp_path_factory.mktemp("grades"), digits, TRAIN, TEST)
    write_pipeline(root, facts("cut_points", **GRADES))
    for stage in ("folds", "train", "ensemble", "submit"):
        assert softvote(root, stage, "tiny") == 0
    return root


def rows_of(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))[1:]


def column(path: Path, place: int = 1) -> np.ndarray:
    return np.array([float(row[place]) for row in rows_of(path)])


def test_what_was_fitted_is_what_is_submitted(root: Path) -> None:
    folder = root / "models/tiny/vote"
    record = json.loads((folder / "decision.json").read_text())
    assert record["decision"] == {"name": "cut_points"} and len(record["fitted"]) == 9
    expected = np.load(folder / "test.npy").astype(float) @ np.arange(10)
    [path] = (root / "submissions").glob("tiny-*.csv")
    np.testing.assert_array_equal(column(path), np.searchsorted(record["fitted"], expected, side="right"))


def test_the_ledger_has_metric_decision_and_solution(root: Path) -> None:
    [entry] = read_ledger(root / "submissions/ledger.csv")
    assert entry.metric == "quadratic_weighted_kappa" and entry.decision.startswith("cut points ")
    truth = column(root / "input/digits/solution.csv")
    kappa = cohen_kappa_score(truth, column(root / "submissions" / entry.file), weights="quadratic")
    assert entry.solution_score == pytest.approx(kappa, abs=1e-6)
    assert "%" not in f"{entry.cv} {entry.solution}"
    scores = json.loads((root / "models/tiny/vote/scores.json").read_text())
    assert entry.cv_score == pytest.approx(scores["value"]["value"], abs=1e-6)
    assert scores["value_without"]["value"] != scores["value"]["value"]
    assert {"accuracy", "log_loss"} < set(scores)


@pytest.mark.slow
def test_tables_are_of_the_metric(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for stage in ("train", "ensemble", "submit", "check", "leaderboard"):
        words = [stage] if stage == "leaderboard" else [stage, "tiny"]
        assert softvote(root, *words) == 0
        assert "quadratic weighted kappa" in capsys.readouterr().out, stage
    assert "quadratic weighted kappa" in (root / "models/tiny/vote/comparison.txt").read_text()


def test_the_vote_says_by_what_its_table_compares(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert softvote(root, "ensemble", "tiny") == 0
    said = (
        "Members and rules are compared as decided by the most probable label, without fitted cut points.\n"
    )
    out = capsys.readouterr().out
    assert said in out
    told = out.partition("As submitted they score ")[2].split("\n")[0]
    for name in ("cnn", "again"):
        record = ScoreRecord.read(root / f"models/tiny/{name}/scores.json")
        assert record is not None and f"{name} {record.headline}" in told


def test_check_says_what_is_scored_decided_and_written(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert softvote(root, "check", "tiny") == 0
    expected = (
        "scored by quadratic_weighted_kappa (more is better), decided by cut points, fitted, written as label"
    )
    assert expected in capsys.readouterr().out


def test_a_member_is_decided_by_cut_points_of_its_own(root: Path) -> None:
    fitted = [
        json.loads((root / "models/tiny" / voter / "decision.json").read_text())["fitted"]
        for voter in ("cnn", "again", "vote")
    ]
    assert fitted[0] != fitted[1] != fitted[2]


def test_a_kernel_that_infers_is_given_the_decision(root: Path) -> None:
    write_pipeline(root, facts("cut_points", **GRADES, solution=None, kaggle="digits"))
    run = open_run(root, "tiny")
    folder = build_kernel(run.workspace, "tiny", run.pipeline, "infer", "vote", "tester", accelerator="")
    assert (folder.dataset / "vote.decision.json").is_file()
    write_pipeline(root, facts("cut_points", **GRADES))


def test_without_what_was_fitted_nothing_is_submitted(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    decision = root / "models/tiny/vote/decision.json"
    kept = decision.read_text()
    decision.unlink()
    assert softvote(root, "submit", "tiny") == 1
    assert "run the ensemble stage" in capsys.readouterr().err
    assert softvote(root, "ensemble", "tiny") == 0
    assert decision.read_text() == kept


def test_another_metric_scores_anew_and_trains_nothing(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Probabilities in columns, scored by log loss: the networks stay as they are."""
    files = root / "input/digits"
    for name in ("sample_submission", "solution"):
        marks = [[row[0], *np.eye(10, dtype=int)[int(row[1])]] for row in rows_of(files / f"{name}.csv")]
        projects.write_csv(files / f"{name}_columns.csv", ["ImageId", *map(str, range(10))], marks)
    by_loss = facts(
        None,
        ordered=True,
        metric="log_loss",
        form="columns",
        sample_submission="sample_submission_columns.csv",
        solution="solution_columns.csv",
    )
    write_pipeline(root, by_loss)
    networks = {name: at for name, at in times(root / "models").items() if "weights" in name}
    for stage in ("train", "ensemble", "submit"):
        assert softvote(root, stage, "tiny") == 0
    assert {name: at for name, at in times(root / "models").items() if "weights" in name} == networks
    assert "Less log loss is better" in capsys.readouterr().out
    entry = read_ledger(root / "submissions/ledger.csv")[-1]
    assert entry.metric == "log_loss" and not (root / "models/tiny/vote/decision.json").exists()
    written = np.array([row[1:] for row in rows_of(root / "submissions" / entry.file)], float)
    truth = column(root / "input/digits/solution.csv")
    assert written.min() > 0
    written /= written.sum(axis=1, keepdims=True)  # which clipping has moved by a millionth
    assert entry.solution_score == pytest.approx(log_loss(truth, written, labels=range(10)), abs=1e-5)


def test_every_metric_and_decision_counts_as_another_work(root: Path) -> None:
    """Or scores of one metric would be taken for those of the other."""
    keys = []
    for metric, decision in [
        ("accuracy", None),
        ("matthews", None),
        ("balanced_accuracy", None),
        ({"name": "f1", "average": "micro"}, None),
        ({"name": "f1", "average": "macro"}, None),
        ("quadratic_weighted_kappa", None),
        ("quadratic_weighted_kappa", "argmax"),
        ("quadratic_weighted_kappa", "cut_points"),
    ]:
        write_pipeline(root, facts(decision, ordered=True, metric=metric))
        keys.append([make_plan(open_run(root, "tiny")).fingerprint_of(voter) for voter in ("cnn", "vote")])
    assert len({tuple(key) for key in keys}) == len(keys)
