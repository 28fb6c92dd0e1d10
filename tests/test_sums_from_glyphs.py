"""The whole way from sums to readers of single digits; what the slots read is simulated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import projects
import pytest
from digit_images import Made, make
from numpy.typing import NDArray
from projects import softvote, write_pipeline

from softvote.config.pipeline import Pipeline
from softvote.inference.predictor import Predictor

S, TRAIN, TEST = 2, 160, 20
STAGES = ("folds", "train", "ensemble", "submit")
READER = {"model": "crop_reader", "model_args": {"classifier": "basic_cnn"}, "glyphs_from": "slots"}
MEMBERS = {
    "slots": {"model": "slot_cnn"},
    "reader": READER,
    "again": {"model": "slot_cnn", "glyphs_from": "slots"},
}


def write_project(root: Path, members: dict[str, Any]) -> None:
    competition = projects.competition(
        files={"format": "npy", "train": ["i.npy"], "train_labels": ["l.npy"], "test": ["t.npy"]},
        image={"height": 40, "width": 80},
        labels={"first": 0, "last": 9 * S},
        hidden_digits=S,
    )
    defaults = projects.RECIPE | {"head": "digits", "epochs": 1}
    facts = projects.pipeline(
        competition=competition, members=members, defaults=defaults, folds={"count": 8, "train": 1},
        ensemble={"rule": "mean"},
    )  # fmt: skip
    write_pipeline(root, facts)


@pytest.fixture
def pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Made]:
    """Images of two digits, and a network whose readings of them are right nineteen times in twenty."""
    these = make(TRAIN + TEST, 120, digits=S)
    images = np.ascontiguousarray(these.images[:, :, :80])
    folder = tmp_path / "input" / "digits"
    folder.mkdir(parents=True)
    for name, array in (("i", images[:TRAIN]), ("l", these.sums[:TRAIN]), ("t", images[TRAIN:])):
        np.save(folder / f"{name}.npy", array)
    for name, labels in (("sample_submission", [0] * TEST), ("solution", these.sums[TRAIN:].tolist())):
        lines = [f"{row},{label}" for row, label in enumerate(labels)]
        (folder / f"{name}.csv").write_text("\n".join(["Id,Sum", *lines, ""]))
    row_of = {image.tobytes(): row for row, image in enumerate(images)}

    def read(self: Predictor, shown: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        rows = [row_of[image.tobytes()] for image in shown]
        return these.readings(0.05)[rows], these.centres[rows]

    monkeypatch.setattr(Predictor, "digits", read)
    write_project(tmp_path, MEMBERS)
    return tmp_path, these


@pytest.mark.slow
def test_the_whole_way(pairs: tuple[Path, Made], capsys: pytest.CaptureFixture[str]) -> None:
    root, these = pairs
    for stage in STAGES:
        assert softvote(root, stage, "tiny") == 0
    folder = root / "models" / "tiny"
    folds = np.loadtxt(folder / "folds.csv", delimiter=",", skiprows=1, usecols=2, dtype=np.int64)
    name_of = {image.tobytes(): name for image, name in zip(these.sources, these.names, strict=True)}
    row_of = {image.tobytes(): row for row, image in enumerate(these.sources)}
    with np.load(folder / "slots" / "fold0" / "glyphs.npz") as glyphs:
        images, digits = glyphs["images"], glyphs["digits"]
    assert len(digits) > 40
    assert [name_of[image.tobytes()] for image in images] == digits.tolist()
    validating = set(these.drawn[:TRAIN][folds == 0].flatten().tolist())
    standing = {row_of[image.tobytes()] for image in images}
    assert len(standing & validating) <= 2  # those that touch on both sides
    recipe = json.loads((folder / "reader" / "fold0" / "recipe.json").read_text())
    assert recipe["images_an_epoch"] == np.count_nonzero(folds != 0)
    assert "vote: mean (slots, reader, again)" in capsys.readouterr().out
    assert softvote(root, "train", "tiny") == 0
    assert "3 of 3 trainings are there and unchanged" in capsys.readouterr().out


@pytest.mark.slow
def test_other_slots_give_other_glyphs(pairs: tuple[Path, Made], capsys: pytest.CaptureFixture[str]) -> None:
    root, _ = pairs
    write_project(root, MEMBERS | {"again": {"model": "resnet5"}})
    assert softvote(root, "folds", "tiny") == softvote(root, "train", "tiny", "--fold", "0") == 0
    write_project(
        root, MEMBERS | {"again": {"model": "resnet5"}, "slots": {"model": "slot_cnn", "epochs": 2}}
    )
    capsys.readouterr()
    assert softvote(root, "train", "tiny", "--fold", "0") == 0
    told = capsys.readouterr().out
    assert "slots: train fold 0 (changed: member.epochs" in told and "again: train" not in told
    assert "reader: train fold 0 (changed: glyphs_from " in told


def test_readers_wait_for_slots(pairs: tuple[Path, Made], capsys: pytest.CaptureFixture[str]) -> None:
    root, _ = pairs
    assert softvote(root, "folds", "tiny") == 0
    assert softvote(root, "train", "tiny", "--member", "reader") == 1
    assert "members.reader: starts from slots fold 0, which is not trained" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"slots": {"model": "resnet5"}}, "glyphs_from: slots does not say which digits stand where"),
        ({"slots": {"model": "slot_cnn", "glyphs_from": "slots"}}, "is circular: slots <- slots"),
        ({"reader": READER | {"glyphs_from": "slot"}}, "no member 'slot'; did you mean 'slots'?"),
        ({"reader": READER | {"head": "softmax"}}, "glyphs_from teaches single digits; set head: digits"),
        (
            {"reader": READER | {"mixup": 0.2}},
            "glyphs_from goes without init_from, extra_train, mixup, cutmix",
        ),
        (
            {"reader": READER | {"schedule": {"name": "plateau", "watch": "held_out"}}},
            "glyphs_from leaves no rows to hold out",
        ),
    ],
)
def test_what_cannot_be(
    changes: dict[str, Any], told: str, pairs: tuple[Path, Made], capsys: pytest.CaptureFixture[str]
) -> None:
    root, _ = pairs
    write_project(root, MEMBERS | changes)
    assert softvote(root, "check", "tiny") == 1
    assert told in capsys.readouterr().err


def test_only_images_of_several_digits_are_composed() -> None:
    facts = projects.pipeline(
        competition=projects.competition(hidden_digits=1),
        members={"slots": {"model": "slot_cnn", "head": "digits"}, "reader": READER | {"head": "digits"}},
    )
    with pytest.raises(ValueError, match=r"members\.reader\.glyphs_from: composes grey images of several"):
        Pipeline.model_validate(facts)
