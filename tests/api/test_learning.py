"""fit, cross_val_predict, save and load, and the way from files to a submission in Python."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from projects import Digits, probabilities, softvote, write_project

import softvote as sv
from softvote.seeds import training_seed
from softvote.storage.paths import Workspace


@pytest.fixture(scope="module")
def root(digits: Digits, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits and a pipeline of one member, trained by `run`."""
    root = tmp_path_factory.mktemp("face")
    write_project(root, digits, 120, 40, members={"small": {"model": "cnn"}})
    done = sv.run(sv.load_pipeline("tiny", root=root))
    assert list(done) == ["folds", "train", "ensemble"]
    return root


@pytest.fixture(scope="module")
def pipeline(root: Path) -> sv.Run:
    return sv.load_pipeline("tiny", root=root)


@pytest.fixture(scope="module")
def data(pipeline: sv.Run) -> sv.ImageData:
    return sv.load_dataset(pipeline)


@pytest.fixture(scope="module")
def fitted(pipeline: sv.Run, data: sv.ImageData) -> sv.FittedMember:
    return sv.fit(pipeline.members["small"], data, seed=3)


def test_data_is_the_competitions(data: sv.ImageData, digits: Digits) -> None:
    np.testing.assert_array_equal(data.train.images[:, 0], digits[0][:120])
    np.testing.assert_array_equal(data.train.labels, digits[1][:120])
    assert data.test is not None and data.test.images.shape == (40, 1, 8, 8)
    assert data.classes == list("0123456789") and data.task.num_classes == 10


def test_overrides_are_those_of_the_command_line(root: Path) -> None:
    overrides = {
        "members.small.epochs": 1,
        "defaults.optimizer.lr": 1e-5,
        "members.small.augment": {"rotate": 5},
    }
    run = sv.load_pipeline("tiny", overrides, root)
    member = run.members["small"]
    assert (member.epochs, member.optimizer.lr) == (1, 1e-5)
    assert member.augment is not None and member.augment.rotate == 5
    assert "members.small.epochs=1" in run.settings
    assert (
        sv.load_pipeline(root / "pipelines" / "tiny.yaml", root=root).pipeline
        == sv.load_pipeline("tiny", root=root).pipeline
    )
    with pytest.raises(sv.UserError, match=r"no member 'smal'"):
        sv.load_pipeline("tiny", {"members.smal.epochs": 1}, root)


def test_folds_and_out_of_fold_probabilities_are_those_of_the_stages(
    root: Path, pipeline: sv.Run, data: sv.ImageData
) -> None:
    folds = sv.make_folds(data, n_folds=2)
    folder = Workspace(root).pipeline("tiny")
    with folder.folds.open() as file:
        assert [int(row["fold"]) for row in csv.DictReader(file)] == folds.tolist()
    oof = sv.cross_val_predict(pipeline.members["small"], data, folds, name="small")
    np.testing.assert_allclose(oof, probabilities(folder.path / "small"), atol=1e-7)


def test_a_fold_of_the_stages_can_be_loaded_and_fitted_again(
    root: Path, pipeline: sv.Run, data: sv.ImageData
) -> None:
    folds = sv.make_folds(data, n_folds=2)
    stored = sv.load(Workspace(root).pipeline("tiny").path / "small" / "fold0")
    again = sv.fit(pipeline.members["small"], data, folds != 0, training_seed(0, "small", 0))
    assert stored.classes == data.classes and [row["epoch"] for row in again.log] == [1, 2]
    expected = stored.predict_proba(data.train.images)
    np.testing.assert_array_equal(again.predict_proba(data.train.images), expected)
    np.testing.assert_array_equal(again.predict(data.train.images), expected.argmax(axis=1))


def test_what_was_saved_predicts_the_same_here_and_on_the_command_line(
    fitted: sv.FittedMember, data: sv.ImageData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert data.test is not None
    folder = fitted.save(tmp_path / "saved")
    expected = fitted.predict_proba(data.test.images)
    np.testing.assert_array_equal(sv.load(folder).predict_proba(data.test.images), expected)
    np.save(tmp_path / "images.npy", data.test.images[:, 0])
    capsys.readouterr()
    assert softvote(tmp_path, "predict", "--model", str(folder), str(tmp_path / "images.npy")) == 0
    labels = [int(row["label"]) for row in csv.DictReader(capsys.readouterr().out.splitlines())]
    assert labels == expected.argmax(axis=1).tolist()
    fitted.save(folder)  # again, over the same


def test_a_training_of_a_pipeline_is_not_overwritten(root: Path, fitted: sv.FittedMember) -> None:
    with pytest.raises(sv.UserError, match="holds a training of a pipeline"):
        fitted.save(Workspace(root).pipeline("tiny").path / "small" / "fold0")


def test_rows_may_be_a_mask_or_numbers(pipeline: sv.Run, data: sv.ImageData) -> None:
    member = pipeline.members["small"].model_copy(update={"epochs": 1})
    mask = np.arange(120) % 3 > 0
    first, second = (sv.fit(member, data, rows, seed=1) for rows in (mask, np.flatnonzero(mask)[::-1]))
    images = data.train.images
    np.testing.assert_array_equal(first.predict_proba(images), second.predict_proba(images))


class StopAfterOne(sv.Callback):
    """Looks on, and stops after the first epoch."""

    def __init__(self) -> None:
        self.steps = self.ends = 0

    def on_step(self, state: Any) -> None:
        self.steps += 1

    def on_epoch(self, state: Any) -> None:
        state.stop()

    def on_end(self, state: Any) -> None:
        self.ends += 1


def test_callbacks_look_on_and_may_stop(
    pipeline: sv.Run, data: sv.ImageData, capsys: pytest.CaptureFixture[str]
) -> None:
    watching = StopAfterOne()
    fitted = sv.fit(pipeline.members["small"], data, callbacks=[watching])
    assert (len(fitted.log), watching.steps, watching.ends) == (1, 4, 1)  # 120 images in batches of 30
    sv.cross_val_predict(pipeline.members["small"], data, np.arange(120) % 2, callbacks=[watching])
    assert watching.ends == 3
    assert capsys.readouterr() == ("", "")


def test_a_member_starts_from_another(pipeline: sv.Run, data: sv.ImageData, fitted: sv.FittedMember) -> None:
    member = pipeline.members["small"].model_copy(update={"init_from": "small", "freeze": True, "epochs": 1})
    with pytest.raises(sv.UserError, match="pass init_from="):
        sv.fit(member, data)
    tuned = sv.fit(member, data, init_from=fitted)
    states = [each.predictor.network.model.state_dict() for each in (fitted, tuned)]
    same = [name for name, value in states[0].items() if value.equal(states[1][name])]
    assert 0 < len(same) < len(states[0])


def test_a_regression_is_calibrated_on_rows_it_was_not_trained_on(
    data: sv.ImageData, pipeline: sv.Run
) -> None:
    member = pipeline.members["small"].model_copy(update={"head": "regression"})
    fitted = sv.fit(member, data, np.arange(120) % 2 > 0)
    assert fitted.predictor.network.head.calibration()["rows"] == 60
    np.testing.assert_allclose(fitted.predict_proba(data.train.images).sum(axis=1), 1, atol=1e-5)


def test_votes_become_a_submission(root: Path, data: sv.ImageData, tmp_path: Path) -> None:
    assert data.test is not None
    test = np.load(Workspace(root).pipeline("tiny").path / "small" / "test.npy")
    path = sv.write_submission(test, data, tmp_path / "mine.csv")
    rows = list(csv.reader(path.open()))
    assert rows[0] == ["ImageId", "Label"] and len(rows) == 41
    assert [int(row[1]) for row in rows[1:]] == test.argmax(axis=1).tolist()
    with pytest.raises(
        sv.UserError, match=r"probabilities: shape \(39, 10\), the test images need \(40, 10\)"
    ):
        sv.write_submission(test[:-1], data, path)
    with pytest.raises(sv.UserError, match=r"row 0 .*holds no probabilities"):
        sv.write_submission(test * np.nan, data, path)


def test_what_cannot_be_done_is_said_in_one_line(
    root: Path, pipeline: sv.Run, data: sv.ImageData, fitted: sv.FittedMember, tmp_path: Path
) -> None:
    member = pipeline.members["small"]
    for call, says in {
        lambda: sv.run(pipeline, ["folds", "trian"]): "no stage 'trian'; did you mean 'train'",
        lambda: sv.make_folds(data, n_folds=1): "n_folds: 1; use 2 or more",
        lambda: sv.make_folds(data, n_folds=121): "^n_folds: 121 folds need as many different images",
        lambda: sv.make_folds(data, seed="a"): "seed: 'a'; give a whole number",  # type: ignore[arg-type]
        lambda: sv.make_folds(data, near_identical=-1): "near_identical: -1; give grey levels",
        lambda: sv.make_folds(data, groups=[*range(119), None]): r"groups: missing in 1 of 120 .* row 119",
        lambda: sv.fit(member, data, np.array([True])): r"rows: bool \(1,\); give bool \(120,\)",
        lambda: sv.fit(member, data, np.array([0, 120])): "rows: 2 rows of 120 images; .* from 0 to 119",
        lambda: sv.fit(member, data, np.array([0.5, 1])): r"rows: float64",
        lambda: sv.cross_val_predict(member, data, np.zeros(120, int)): "folds: .* two or more",
        lambda: sv.cross_val_predict(member, data, np.arange(3)): r"folds: int64 \(3,\) for 120",
        lambda: sv.cross_val_predict(member, data, np.arange(120) / 60): r"folds: float64 \(120,\)",
        lambda: fitted.predict_proba(data.train.images / 255): "images: float64",
        lambda: fitted.predict_proba(data.train.images[:, :, 1:]): r"give uint8 \(N, 1, 8, 8\)",
        lambda: fitted.predict_proba(data.train.images, np.zeros(120, int)): "addends: leave them out",
        lambda: sv.load(tmp_path): "holds no finished training",
    }.items():
        with pytest.raises(sv.UserError, match=says) as caught:
            call()
        assert len(str(caught.value).splitlines()) == 1


def test_recipes_that_need_files_are_left_to_the_stages(data: sv.ImageData) -> None:
    extra = {"images": "more.npy", "labels": "labels.npy"}
    member = sv.Member(model="cnn", extra_train=extra)
    with pytest.raises(sv.UserError, match="extra_train: needs the files of its pipeline"):
        sv.fit(member, data)
