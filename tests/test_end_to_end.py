"""The whole way through the command line, on real digits: folds, train, ensemble, submit."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import projects
import pytest
from conftest import Digits
from projects import probabilities, softvote, times, write_pipeline, write_project

from softvote.stages import mistakes

TRAIN, TEST = 300, 100
STAGES = ("folds", "train", "ensemble", "submit")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, digits: Digits) -> Path:
    """A project after all four stages; copy it before changing it."""
    root = write_project(tmp_path_factory.mktemp("finished"), digits, TRAIN, TEST)
    for stage in STAGES:
        assert softvote(root, stage, "tiny") == 0
    return root


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished project."""
    return Path(shutil.copytree(finished, tmp_path / "project"))


def models(root: Path) -> Path:
    return root / "models" / "tiny"


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def submissions(root: Path) -> list[Path]:
    return sorted((root / "submissions").glob("tiny-*.csv"))


# ---------------------------------------------------------------- what the stages leave


def test_every_file_is_there_and_no_other(finished: Path) -> None:
    predicted = ["oof.npz", "scores.json", "test.npy"]
    fold = [*predicted, "log.csv", "recipe.json", "weights.safetensors"]
    expected = {"folds.csv", "folds.json"}
    expected |= {f"vote/{name}" for name in [*predicted, "comparison.txt", "vote.json"]}
    for member in ("cnn", "resnet5"):
        expected |= {f"{member}/{name}" for name in predicted}
        expected |= {f"{member}/fold{k}/{name}" for k in (0, 1) for name in fold}
    assert set(times(models(finished))) == expected
    assert not list(finished.rglob("*.tmp*"))


@pytest.mark.parametrize("voter", ["cnn", "resnet5", "vote"])
def test_probabilities_of_every_voter(finished: Path, voter: str) -> None:
    folder = models(finished) / voter
    with np.load(folder / "oof.npz") as oof:
        assert oof["rows"].dtype == np.int64
        np.testing.assert_array_equal(oof["rows"], np.arange(TRAIN))
    for found, rows in ((probabilities(folder), TRAIN), (np.load(folder / "test.npy"), TEST)):
        assert found.shape == (rows, 10) and found.dtype == np.float32
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("voter", ["cnn", "resnet5", "vote"])
def test_scores_are_of_the_out_of_fold_rows(finished: Path, digits: Digits, voter: str) -> None:
    folder = models(finished) / voter
    scores, found, labels = read(folder / "scores.json"), probabilities(folder), digits[1][:TRAIN]
    right = float((found.argmax(axis=1) == labels).mean())
    assert scores["accuracy"]["value"] == pytest.approx(right)
    assert scores["accuracy"]["standard_error"] == pytest.approx(
        np.sqrt(right * (1 - right) / TRAIN), rel=0.1
    )
    assert scores["accuracy"]["rows"] == TRAIN
    loss = -np.log(found[np.arange(TRAIN), labels]).mean()
    assert scores["log_loss"]["value"] == pytest.approx(loss, rel=1e-4)


def test_the_networks_learn(finished: Path) -> None:
    assert read(models(finished) / "resnet5" / "scores.json")["accuracy"]["value"] > 0.85
    assert read(models(finished) / "vote" / "scores.json")["accuracy"]["value"] > 0.85


def test_a_member_is_its_folds(finished: Path) -> None:
    folds = np.array([int(row["fold"]) for row in table(models(finished) / "folds.csv")])
    member = models(finished) / "resnet5"
    for fold in (0, 1):
        with np.load(member / f"fold{fold}" / "oof.npz") as oof:
            np.testing.assert_array_equal(oof["rows"], np.flatnonzero(folds == fold))
            np.testing.assert_array_equal(probabilities(member)[folds == fold], oof["probabilities"])
    parts = [np.load(member / f"fold{fold}" / "test.npy") for fold in (0, 1)]
    np.testing.assert_allclose(np.load(member / "test.npy"), np.mean(parts, axis=0), atol=1e-7)


def test_the_log_has_a_line_an_epoch(finished: Path) -> None:
    log = table(models(finished) / "cnn" / "fold0" / "log.csv")
    assert [row["epoch"] for row in log] == ["1", "2"]
    assert float(log[1]["loss"]) < float(log[0]["loss"])


def test_the_submission_is_what_the_vote_says(finished: Path, digits: Digits) -> None:
    (path,) = submissions(finished)
    assert list(table(path)[0]) == ["ImageId", "Label"]
    assert [row["ImageId"] for row in table(path)] == [str(i + 1) for i in range(TEST)]
    guesses = np.load(models(finished) / "vote" / "test.npy").argmax(axis=1)
    assert [int(row["Label"]) for row in table(path)] == guesses.tolist()


def test_the_ledger_says_how_it_scored(finished: Path, digits: Digits) -> None:
    (row,) = table(finished / "submissions" / "ledger.csv")
    (path,) = submissions(finished)
    assert row["file"] == path.name and row["sha256"].startswith(path.stem.removeprefix("tiny-"))
    assert row["pipeline"] == "tiny" and row["members"] == "cnn resnet5" and row["folds"] == "2/2"
    cv = read(models(finished) / "vote" / "scores.json")["accuracy"]
    assert float(row["cv_score"]) == pytest.approx(cv["value"], abs=1e-6)
    guesses = [int(line["Label"]) for line in table(path)]
    solution = float(np.mean(np.array(guesses) == digits[1][TRAIN : TRAIN + TEST]))
    assert float(row["solution_score"]) == pytest.approx(solution, abs=1e-6)


# ---------------------------------------------------------------- again, and after changes


def test_a_second_run_does_nothing(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for stage in ("folds", "train", "ensemble"):
        before = times(project)
        assert softvote(project, stage, "tiny") == 0
        assert times(project) == before, stage
        assert "unchanged" in capsys.readouterr().out, stage


def test_submitting_again_adds_no_row(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ledger = (project / "submissions" / "ledger.csv").read_bytes()
    assert softvote(project, "submit", "tiny") == 0
    assert (project / "submissions" / "ledger.csv").read_bytes() == ledger
    assert "already in" in capsys.readouterr().out
    assert len(submissions(project)) == 1


def test_a_changed_recipe_retrains_what_it_touches(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = times(models(project))
    assert softvote(project, "train", "tiny", "--set", "members.cnn.epochs=1") == 0
    told = capsys.readouterr().out
    assert "cnn: train fold 0, 1" in told and "epochs 2 -> 1" in told and "resnet5: train" not in told
    after = times(models(project))
    changed = {name for name in before if before[name] != after[name]}
    assert changed and all(name.startswith("cnn/") for name in changed)
    assert {f"cnn/fold{k}/weights.safetensors" for k in (0, 1)} <= changed
    assert len(table(models(project) / "cnn" / "fold0" / "log.csv")) == 1


def test_changed_test_time_augmentation_only_predicts_again(project: Path) -> None:
    before, old = times(models(project)), probabilities(models(project) / "resnet5")
    recipe = models(project) / "resnet5" / "fold0" / "recipe.json"
    trained = json.loads(recipe.read_text())
    assert softvote(project, "train", "tiny", "--set", "members.resnet5.tta.shift=1") == 0
    after = times(models(project))
    changed = {name for name in before if before[name] != after[name]}
    predicted = {"oof.npz", "scores.json", "test.npy"}
    assert {f"resnet5/fold{k}/{name}" for k in (0, 1) for name in predicted} <= changed
    assert not {name for name in changed if name.endswith(("safetensors", "log.csv"))}
    assert not np.array_equal(probabilities(models(project) / "resnet5"), old)
    # The folder alone predicts as the pipeline says now.
    trained["member"]["tta"]["shift"] = 1
    assert json.loads(recipe.read_text()) == trained


def test_only_one_member_or_fold(project: Path) -> None:
    weights = {
        (member, k): models(project) / member / f"fold{k}" / "weights.safetensors"
        for member in ("cnn", "resnet5")
        for k in (0, 1)
    }
    before = {which: path.stat().st_mtime_ns for which, path in weights.items()}
    words = ["--set", "defaults.epochs=1", "--member", "resnet5", "--fold", "1"]
    assert softvote(project, "train", "tiny", *words) == 0
    changed = [which for which, path in weights.items() if path.stat().st_mtime_ns != before[which]]
    assert changed == [("resnet5", 1)]


@pytest.mark.parametrize(
    ("setting", "named"), [("members.cnn.epochs=3", ["members.cnn"]), ("seed=5", ["folds.csv", "seed"])]
)
def test_the_ensemble_refuses_stale_members(
    project: Path, capsys: pytest.CaptureFixture[str], setting: str, named: list[str]
) -> None:
    before = times(project)
    assert softvote(project, "ensemble", "tiny", "--set", setting) == 1
    told = capsys.readouterr().err
    assert all(word in told for word in named) and "run the" in told
    assert times(project) == before


@pytest.mark.parametrize(
    ("settings", "stage"),
    [
        (["--set", "ensemble.rule=mean_logits"], "ensemble"),
        (["--set", "members.cnn.epochs=3"], "ensemble"),
        (["--set", "members.cnn.epochs=3", "--member", "cnn"], "train"),
        (["--set", "ensemble.name=other"], "ensemble"),
    ],
)
def test_submit_refuses_what_is_stale(
    project: Path, capsys: pytest.CaptureFixture[str], settings: list[str], stage: str
) -> None:
    before = times(project)
    assert softvote(project, "submit", "tiny", *settings) == 1
    assert f"run the {stage} stage" in capsys.readouterr().err
    assert times(project) == before


def test_another_rule_votes_anew(project: Path) -> None:
    words = ["tiny", "--set", "ensemble.rule=mean_logits"]
    old = probabilities(models(project) / "vote")
    assert softvote(project, "ensemble", *words) == 0
    assert read(models(project) / "vote" / "vote.json")["rule"] == "mean_logits"
    assert not np.array_equal(probabilities(models(project) / "vote"), old)
    assert softvote(project, "submit", *words) == 0


def test_a_member_alone_can_be_submitted(project: Path) -> None:
    assert softvote(project, "submit", "tiny", "--member", "resnet5") == 0
    row = table(project / "submissions" / "ledger.csv")[-1]
    assert row["ensemble"] == row["members"] == "resnet5"
    guesses = np.load(models(project) / "resnet5" / "test.npy").argmax(axis=1)
    assert [int(line["Label"]) for line in table(project / "submissions" / row["file"])] == guesses.tolist()


def test_lost_predictions_are_made_again_without_training(project: Path) -> None:
    fold = models(project) / "cnn" / "fold1"
    expected, weights = probabilities(fold), (fold / "weights.safetensors").stat().st_mtime_ns
    (fold / "oof.npz").unlink()
    assert softvote(project, "train", "tiny") == 0
    np.testing.assert_array_equal(probabilities(fold), expected)
    assert (fold / "weights.safetensors").stat().st_mtime_ns == weights


def test_a_lost_vote_is_voted_again(project: Path) -> None:
    vote = models(project) / "vote"
    expected = probabilities(vote)
    shutil.rmtree(vote)
    assert softvote(project, "submit", "tiny") == 1
    assert softvote(project, "ensemble", "tiny") == 0
    np.testing.assert_array_equal(probabilities(vote), expected)


@pytest.mark.parametrize("file", ["cnn/oof.npz", "cnn/test.npy", "cnn/fold0/oof.npz", "cnn/fold1/test.npy"])
def test_damaged_probabilities_are_made_again(project: Path, file: str) -> None:
    path = models(project) / file
    whole = np.load(path)["probabilities"] if path.suffix == ".npz" else np.load(path)
    path.write_bytes(path.read_bytes()[:200])
    assert softvote(project, "ensemble", "tiny") == 1
    assert softvote(project, "submit", "tiny", "--member", "cnn") == int("fold" not in file)
    assert softvote(project, "train", "tiny") == 0
    again = np.load(path)["probabilities"] if path.suffix == ".npz" else np.load(path)
    np.testing.assert_array_equal(again, whole)
    assert softvote(project, "ensemble", "tiny") == 0


@pytest.mark.parametrize("file", ["vote.json", "comparison.txt", "oof.npz", "test.npy", "scores.json"])
def test_a_damaged_vote_is_refused_and_voted_again(
    project: Path, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = models(project) / "vote" / file
    whole = path.read_bytes()
    if file == "comparison.txt":
        path.unlink()
    else:
        path.write_bytes(b"{")
    rows = table(project / "submissions" / "ledger.csv")
    assert softvote(project, "submit", "tiny") == 1
    assert "run the ensemble stage" in capsys.readouterr().err
    assert table(project / "submissions" / "ledger.csv") == rows
    assert softvote(project, "ensemble", "tiny") == 0
    assert path.read_bytes() == whole or file.endswith(".npz")
    assert softvote(project, "submit", "tiny") == 0


@pytest.mark.parametrize("damaged", [True, False])
def test_check_fails_on_damaged_data_and_not_on_missing_folds(
    project: Path, damaged: bool, capsys: pytest.CaptureFixture[str], known_throughput: None
) -> None:
    shutil.rmtree(models(project))
    train = project / "input" / "digits" / "train.csv"
    if damaged:
        train.write_bytes(train.read_bytes()[:-5])
    assert softvote(project, "check", "tiny") == int(damaged)
    printed = capsys.readouterr()
    assert ("train.csv, row 301" in printed.err) == damaged
    assert ("before training: make folds" in printed.out) != damaged


def test_trained_alone_a_fold_gives_the_same_numbers(finished: Path, tmp_path: Path) -> None:
    """No random number depends on what was trained before in the same process."""
    fresh = tmp_path / "fresh"
    shutil.copytree(finished / "input", fresh / "input")
    shutil.copytree(finished / "pipelines", fresh / "pipelines")
    assert softvote(fresh, "folds", "tiny") == 0
    assert softvote(fresh, "train", "tiny", "--member", "resnet5", "--fold", "1") == 0
    where = Path("models/tiny/resnet5/fold1/oof.npz").parent
    np.testing.assert_array_equal(probabilities(fresh / where), probabilities(finished / where))
    assert (fresh / "models/tiny/folds.csv").read_bytes() == (models(finished) / "folds.csv").read_bytes()


def test_changed_test_images_are_only_predicted_again(project: Path, digits: Digits) -> None:
    weights = {path: path.stat().st_mtime_ns for path in project.rglob("weights.safetensors")}
    old = probabilities(models(project) / "cnn")
    projects.write_digits(project, digits, TRAIN, TEST - 1)
    assert softvote(project, "train", "tiny") == 0
    assert {path: path.stat().st_mtime_ns for path in weights} == weights
    assert np.load(models(project) / "cnn" / "test.npy").shape == (TEST - 1, 10)
    np.testing.assert_array_equal(probabilities(models(project) / "cnn"), old)


def test_other_training_data_is_refused(
    project: Path, digits: Digits, capsys: pytest.CaptureFixture[str]
) -> None:
    projects.write_digits(project, digits, TRAIN - 1, TEST)
    for stage in STAGES:
        assert softvote(project, stage, "tiny") == 1
        assert "belongs to other data" in capsys.readouterr().err


def test_training_some_folds_only(project: Path) -> None:
    words = ["tiny", "--set", "folds.train=1"]
    for stage in STAGES[:2]:
        assert softvote(project, stage, *words) == 0
    with np.load(models(project) / "cnn" / "oof.npz") as oof:
        assert 0 < len(oof["rows"]) < TRAIN
    for stage in STAGES[2:]:
        assert softvote(project, stage, *words) == 0
    row = table(project / "submissions" / "ledger.csv")[-1]
    assert row["folds"] == "1/2" and int(row["rows"]) < TRAIN


def test_check_says_what_is_due(
    project: Path, capsys: pytest.CaptureFixture[str], known_throughput: None
) -> None:
    before = times(project)
    assert softvote(project, "check", "tiny", "--set", "members.cnn.epochs=3") == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert lines["cnn"].split()[1:3] == ["2", "2"] and lines["resnet5"].split()[1:3] == ["0", "2"]
    assert times(project) == before


@pytest.mark.slow_but("of0")
@pytest.mark.parametrize("of", [[], ["--member", "cnn"]])
def test_a_picture_of_the_mistakes(project: Path, of: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mistakes, "_MOST", 14)  # each takes time to draw
    assert softvote(project, "mistakes", "tiny", *of) == 0
    path = models(project) / (of[-1] if of else "vote") / "mistakes.png"
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_picture_of_the_augmentation(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert softvote(project, "augmentation", "tiny") == 1
    assert "no augmentation to show" in capsys.readouterr().err
    assert softvote(project, "augmentation", "tiny", "--set", "members.resnet5.augment={rotate: 10}") == 0
    assert (models(project) / "resnet5" / "augmentation.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_larger_images_and_the_smallest_network(tmp_path: Path, digits: Digits) -> None:
    """28 x 28, two members of one architecture: they differ by their seeds."""
    large = np.kron(digits[0][:120], np.ones((1, 4, 4), np.uint8))[:, 2:30, 2:30]
    root = write_project(
        tmp_path, (large, digits[1][:120]), 80, 40,
        competition=projects.competition(image={"height": 28, "width": 28}),
        members={"first": {"model": "basic_cnn"}, "second": {"model": "basic_cnn"}},
    )  # fmt: skip
    for stage in STAGES:
        assert softvote(root, stage, "tiny") == 0
    assert not np.array_equal(probabilities(models(root) / "first"), probabilities(models(root) / "second"))


def test_pipelines_do_not_tread_on_each_other(project: Path) -> None:
    before = times(models(project))
    write_pipeline(project, projects.pipeline(members={"cnn": {"model": "cnn", "epochs": 1}}), "other")
    for stage in STAGES:
        assert softvote(project, stage, "other") == 0
    assert times(models(project)) == before
    assert [row["pipeline"] for row in table(project / "submissions" / "ledger.csv")] == ["tiny", "other"]
