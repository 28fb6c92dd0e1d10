"""softvote.ensembling.predictions: folds put together, written with their scores, and read again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import projects
import pytest
from conftest import Digits

from softvote.config.pipeline import Pipeline
from softvote.ensembling.predictions import (
    Predictions,
    merge_folds,
    read_predictions,
    write_predictions,
)
from softvote.ensembling.records import DecisionRecord, ScoreRecord
from softvote.ensembling.scorer import Scorer
from softvote.errors import UserError
from softvote.storage.files import read_json
from softvote.storage.paths import PredictionsFolder
from softvote.task import Task

LABELS = np.arange(40, dtype=np.int64) % 4


def predictions(rows: list[int], seed: int = 0, tests: int = 7) -> Predictions:
    random = np.random.default_rng(seed)
    oof, test = (random.dirichlet(np.ones(4), count).astype(np.float32) for count in (len(rows), tests))
    return Predictions(np.array(rows, np.int64), oof, test)


@pytest.fixture
def folder(tmp_path: Path) -> PredictionsFolder:
    return PredictionsFolder(tmp_path / "cnn")


def test_folds_are_put_together_in_the_order_of_rows() -> None:
    parts = [predictions([1, 5, 9], 1), predictions([0, 6], 2), predictions([2], 3)]
    whole = merge_folds(parts)
    assert whole.rows.tolist() == [0, 1, 2, 5, 6, 9]
    np.testing.assert_array_equal(whole.oof[[1, 3, 5]], parts[0].oof)
    np.testing.assert_array_equal(whole.oof[[0, 4]], parts[1].oof)
    np.testing.assert_array_equal(whole.oof[[2]], parts[2].oof)
    assert whole.oof.dtype == whole.test.dtype == np.float32


def test_rows_that_recur_are_averaged() -> None:
    parts = [predictions([1, 5], 1), predictions([0, 6], 2), predictions([1, 5], 3), predictions([0, 6], 4)]
    whole = merge_folds(parts)
    assert whole.rows.tolist() == [0, 1, 5, 6]
    np.testing.assert_allclose(whole.oof[[1, 2]], (parts[0].oof + parts[2].oof) / 2, atol=1e-7)
    np.testing.assert_allclose(whole.oof[[0, 3]], (parts[1].oof + parts[3].oof) / 2, atol=1e-7)
    assert whole.oof.dtype == np.float32


def test_test_rows_are_averaged() -> None:
    parts = [predictions([row], row) for row in range(3)]
    np.testing.assert_allclose(merge_folds(parts).test, sum(part.test for part in parts) / 3, atol=1e-7)
    np.testing.assert_array_equal(merge_folds(parts[:1]).test, parts[0].test)


def test_written_and_read(folder: PredictionsFolder) -> None:
    written = predictions([3, 8, 20])
    write_predictions(folder, written, LABELS, Task(10), "abc")
    read = read_predictions(folder)
    for name in ("rows", "oof", "test"):
        np.testing.assert_array_equal(getattr(read, name), getattr(written, name))
        assert getattr(read, name).dtype == getattr(written, name).dtype


def test_scores_are_of_the_rows_that_are_there(folder: PredictionsFolder) -> None:
    written = predictions(list(range(5, 35)))
    write_predictions(folder, written, LABELS, Task(10), "abc")
    facts = read_json(folder.scores)
    truth = LABELS[5:35]
    assert list(facts)[:3] == ["key", "accuracy", "log_loss"] and facts["key"] == "abc"
    record = ScoreRecord.read(folder.scores)
    assert record
    accuracy, loss = record.score("accuracy"), record.score("log_loss")
    assert accuracy.value == pytest.approx((written.oof.argmax(1) == truth).mean()) and accuracy.rows == 30
    assert loss.value == pytest.approx(-np.log(written.oof[np.arange(30), truth]).mean(), rel=1e-5)
    assert accuracy.percent and not loss.percent and loss.standard_error > 0


def test_the_scores_mark_what_is_done(folder: PredictionsFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped in between, no old scores stand beside new probabilities."""
    write_predictions(folder, predictions([1, 2]), LABELS, Task(10), "old")

    def stop(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "save", stop)
    with pytest.raises(KeyboardInterrupt):
        write_predictions(folder, predictions([1, 2], 9), LABELS, Task(10), "new")
    assert read_json(folder.scores) == {}


@pytest.mark.parametrize("name", ["oof.npz", "test.npy"])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "text", "other"])
def test_damaged_files_are_one_line(folder: PredictionsFolder, name: str, damage: str) -> None:
    write_predictions(folder, predictions([1, 2]), LABELS, Task(10), "abc")
    path = folder.path / name
    content = path.read_bytes()
    path.unlink()
    if damage == "other" and name == "oof.npz":
        np.savez(path, nonsense=np.zeros(3))
    elif damage != "missing":
        path.write_bytes(
            {"empty": b"", "cut": content[: len(content) // 2], "text": b"nonsense"}.get(damage, b"PK")
        )
    with pytest.raises(
        UserError, match=r"cnn: probabilities cannot be read .*run the train and ensemble stages again$"
    ) as caught:
        read_predictions(folder)
    assert "\n" not in str(caught.value)


def test_real_labels_score_as_they_should(folder: PredictionsFolder, digits: Digits) -> None:
    """Certain and right is accuracy 1 and log loss 0."""
    oof = np.eye(10, dtype=np.float32)[digits[1]]
    rows = np.arange(len(oof))
    write_predictions(folder, Predictions(rows, oof, oof[:3]), digits[1], Task(10), "abc")
    facts = read_json(folder.scores)
    assert facts["accuracy"]["value"] == 1 and facts["log_loss"]["value"] == pytest.approx(0, abs=1e-6)


def test_the_mean_of_folds_is_taken_in_double_precision_whether_held_or_mapped(tmp_path: Path) -> None:
    parts = [predictions([row], row, tests=50) for row in range(5)]
    expected = np.mean([part.test for part in parts], axis=0, dtype=np.float64).astype(np.float32)
    np.testing.assert_array_equal(merge_folds(parts).test, expected)
    for row, part in enumerate(parts):
        write_predictions(PredictionsFolder(tmp_path / f"fold{row}"), part, LABELS, Task(10), "")
    read = [read_predictions(PredictionsFolder(tmp_path / f"fold{row}")) for row in range(5)]
    assert all(isinstance(part.test, np.memmap) for part in read)
    np.testing.assert_array_equal(merge_folds(read).test, expected)
    assert type(merge_folds(read[:1]).test) is np.ndarray


def test_a_threshold_that_the_pipeline_names_is_scored_and_kept_though_accuracy_counts(
    folder: PredictionsFolder,
) -> None:
    competition = projects.competition(labels=["no", "yes"])
    decision = {"name": "threshold", "at": 0.3}
    scorer = Scorer.of_pipeline(
        Pipeline.model_validate(projects.pipeline(competition=competition, decision=decision))
    )
    oof = np.array([[0.6, 0.4], [0.6, 0.4], [0.9, 0.1], [0.1, 0.9]], np.float32)
    given = Predictions(np.arange(4), oof, oof)
    labels, folds = np.array([1, 1, 0, 1]), np.array([0, 1, 0, 1])
    write_predictions(folder, given, labels, Task(2), "abc", scorer, folds)
    record, kept = ScoreRecord.read(folder.scores), DecisionRecord.read(folder.decision)
    assert record is not None and kept is not None
    assert record.headline.value == 1 and record.score("accuracy").value == 0.5
    assert record.decision == "threshold 0.3" and kept.decision["at"] == 0.3
