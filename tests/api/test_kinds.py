"""The Python face with ordered classes, tags and several targets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Digits
from kinds import KINDS, Kind

import softvote as sv
from softvote.config.recipe import Member
from softvote.errors import UserError

ROWS = 400

every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def recipe(**facts: Any) -> Member:
    usual = {
        "model": "resnet5", "epochs": 4, "batch_size": 32, "optimizer": {"name": "adamw", "lr": 0.004},
        "precision": "fp32", "memory_format": "contiguous",
    }  # fmt: skip
    return Member.model_validate(usual | facts)


def data_of(kind: Kind, digits: Digits, rows: int = ROWS) -> sv.ImageData:
    names = [f"column {column}" for column in range(kind.task.num_classes)]
    images = sv.ImageSplit(digits[0][:rows, None], kind.labels(digits[1][:rows]))
    return sv.ImageData(images, names, kind=kind.task.kind, target_sizes=kind.task.target_sizes)


@pytest.mark.slow_but("tags")
@every_kind
def test_a_member_learns_predicts_and_comes_back(kind: Kind, digits: Digits, tmp_path: Path) -> None:
    data = data_of(kind, digits)
    fitted = sv.fit(recipe(mixup=0.2), data)
    assert fitted.member.head == kind.head
    images, truth = digits[0][1000:1200, None], kind.labels(digits[1][1000:1200])
    found = fitted.predict_proba(images)
    for block in kind.task.blocks:
        np.testing.assert_allclose(found[:, block].sum(axis=1), 1, atol=1e-5)
    named = fitted.predict(images)
    assert named.shape == truth.shape and named.dtype == np.int64
    assert (named == truth).mean() > 0.7 and fitted.log[-1]["accuracy"] > fitted.log[0]["accuracy"]
    again = sv.load(fitted.save(tmp_path / "fold0"))
    assert again.predictor.network.task == kind.task
    np.testing.assert_array_equal(again.predict_proba(images), found)


@pytest.mark.slow_but("targets")
@every_kind
def test_out_of_fold_probabilities_with_views_and_balance(kind: Kind, digits: Digits) -> None:
    data = data_of(kind, digits, 200)
    folds = sv.make_folds(data, 2)
    member = recipe(
        epochs=1, tta={"shift": 1}, view={"name": "crop", "size": 7}, sampling="balanced", loss="focal",
        class_weights="balanced",
    )  # fmt: skip
    found = sv.cross_val_predict(member, data, folds)
    assert found.shape == (200, kind.task.num_classes) and (found >= 0).all() and (found <= 1 + 1e-6).all()
    np.testing.assert_array_equal(found, sv.cross_val_predict(member, data, folds))


def test_groups_share_a_fold(digits: Digits) -> None:
    data, patients = data_of(KINDS["tags"], digits, 100), np.arange(100) // 4
    folds = sv.make_folds(data, 3, groups=patients)
    assert all(len(set(folds[patients == patient])) == 1 for patient in range(25))
    with pytest.raises(UserError, match=r"groups: shape \(3,\) for 100 images"):
        sv.make_folds(data, 3, groups=[1, 2, 3])


@pytest.mark.parametrize(
    ("facts", "what"),
    [
        (
            {"head": "softmax"},
            "member.head: softmax is for classes and ordered classes, but this competition has tags",
        ),
        ({"class_weights": {"x": 2.0}}, "member.class_weights.x: no class 'x'"),
        ({"head": "tags", "loss": "asymmetric", "label_smoothing": 0.1, "epochs": 1}, ""),
    ],
)
def test_recipes_that_do_not_fit_tags(facts: Any, what: str, digits: Digits) -> None:
    data = data_of(KINDS["tags"], digits, 50)
    if not what:
        assert len(sv.fit(recipe(**facts), data).log) == 1
        return
    with pytest.raises(UserError, match=what):
        sv.fit(recipe(**facts), data)
