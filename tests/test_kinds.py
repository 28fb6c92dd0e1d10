"""From files to predictions through the command line: ordered classes, tags and several targets."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import projects
import pytest
from conftest import Digits
from data_fixtures import write_csv
from kinds import KINDS, Kind
from PIL import Image
from projects import softvote, write_pipeline

from softvote.ensembling.ensemble import load_ensemble
from softvote.ensembling.predict import predict_proba
from softvote.inference.record import TrainingRecord
from softvote.stages import mistakes

TRAIN, TEST = 160, 40


def write_project(root: Path, kind: Kind, digits: Digits) -> Path:
    """Image files, a table with a column per tag or target, and a writer for each four images."""
    folder = root / "input" / "digits"
    labels = kind.labels(digits[1][:TRAIN])
    for split, rows in (("train", range(TRAIN)), ("test", range(TRAIN, TRAIN + TEST))):
        (folder / split).mkdir(parents=True)
        for row in rows:
            Image.fromarray(digits[0][row]).save(folder / split / f"{row}.png")
    columns = kind.facts.get("tags") or list(kind.facts.get("targets", ["label"]))
    cells = labels.reshape(TRAIN, -1).tolist()
    if kind.task.kind == "targets":
        cells = [[["even", "odd"][parity], size] for parity, size in cells]
    lines = [[f"{row}.png", *cells[row], f"writer {row // 4}"] for row in range(TRAIN)]
    write_csv(folder / "train.csv", ["id", *columns, "writer"], lines)
    ids = [f"{row}.png" for row in range(TRAIN, TRAIN + TEST)]
    write_csv(folder / "sample_submission.csv", ["id", *columns], [[name, *cells[0]] for name in ids])
    facts = kind.facts | ({} if kind.task.is_single_label else {"form": "columns"})
    competition = projects.competition(files={"format": "image_folder", "suffix": ""}, **facts)
    del competition["solution"]
    if "labels" not in kind.facts:
        del competition["labels"]
    members = {
        "plain": {"model": "cnn"},
        "balanced": {
            "model": "resnet5",
            "sampling": "balanced",
            "class_weights": "balanced",
            "loss": "focal",
        },
    }
    folds = {"count": 2, "group": "writer"}
    write_pipeline(root, projects.pipeline(competition=competition, members=members, folds=folds))
    return root


@pytest.fixture(scope="module", params=[pytest.param("ordered", marks=pytest.mark.slow), "tags", "targets"])
def finished(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, digits: Digits
) -> tuple[Path, Kind]:
    """A project after its ensemble."""
    kind = KINDS[request.param]
    root = write_project(tmp_path_factory.mktemp(request.param), kind, digits)
    for stage in ("folds", "train", "ensemble", "submit"):
        assert softvote(root, stage, "tiny") == 0
    return root, kind


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_writers_share_a_fold(finished: tuple[Path, Kind]) -> None:
    root, kind = finished
    rows = table(root / "models/tiny/folds.csv")
    folds = np.array([int(row["fold"]) for row in rows])
    assert all(len(set(folds[start : start + 4])) == 1 for start in range(0, TRAIN, 4))
    assert len(rows[0]["label"].split()) == max(1, np.prod(kind.task.label_shape, dtype=int))


def test_probabilities_are_those_of_the_task(finished: tuple[Path, Kind], digits: Digits) -> None:
    root, kind = finished
    for voter in ("plain", "balanced", "vote"):
        with np.load(root / "models/tiny" / voter / "oof.npz") as oof:
            rows, found = oof["rows"], oof["probabilities"]
        assert found.shape == (TRAIN, kind.task.num_classes) and (found >= 0).all()
        for block in kind.task.blocks:
            np.testing.assert_allclose(found[:, block].sum(axis=1), 1, atol=1e-5)
        columns = kind.task.columns(kind.labels(digits[1][rows]))
        assert found[columns].mean() > found[~columns].mean()


def test_the_networks_in_the_folders_give_what_is_stored(finished: tuple[Path, Kind], digits: Digits) -> None:
    root, _ = finished
    vote = root / "models/tiny/vote"
    found = predict_proba(load_ensemble(vote), digits[0][TRAIN : TRAIN + TEST, None])
    np.testing.assert_allclose(found, np.load(vote / "test.npy"), atol=1e-6)


@pytest.mark.slow_but("tags")
def test_predict_names_all_that_is_probable(
    finished: tuple[Path, Kind], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, kind = finished
    model, images = root / "models/tiny/vote", root / "input/digits/test"
    assert (
        softvote(root, "predict", "--model", str(model), str(images), "--output", str(tmp_path / "p.csv"))
        == 0
    )
    lines, stored = table(tmp_path / "p.csv"), np.load(model / "test.npy")
    record = TrainingRecord.read(root / "models/tiny/plain/fold0/recipe.json")
    assert record is not None
    names = np.array(record.classes)
    for line, share in zip(lines, stored, strict=True):
        columns = kind.task.columns(kind.task.name(share[None]))[0]
        assert line["label"] == ";".join(names[columns])
        assert len(line["probability"].split(";")) == max(1, columns.sum())


@pytest.mark.slow
def test_mistakes_are_drawn(finished: tuple[Path, Kind], monkeypatch: pytest.MonkeyPatch) -> None:
    root, _ = finished
    monkeypatch.setattr(mistakes, "_MOST", 14)  # each takes time to draw
    assert softvote(root, "mistakes", "tiny") == 0
    assert (root / "models/tiny/vote/mistakes.png").is_file()


def test_check_says_what_there_is(finished: tuple[Path, Kind], capsys: pytest.CaptureFixture[str]) -> None:
    root, kind = finished
    assert softvote(root, "check", "tiny") == 0
    said = {"tags": "3 tags even..loop", "ordered": "10 ordered classes 0..9"}
    out = capsys.readouterr().out
    assert said.get(kind.task.kind, "2 targets parity of 2, size of 3") in out
    assert "focal, class weights, balanced sampling" in out


@pytest.mark.slow
def test_an_exported_program_gives_what_is_stored(finished: tuple[Path, Kind], tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    root, _ = finished
    assert softvote(root, "export", "tiny") == 0
    folder, images = root / "models/tiny/vote", root / "input/digits/test"
    for program in ("program.pt2", "program.onnx"):
        words: list[Any] = ["--model", folder / "export" / program, images, "--output", tmp_path / "p.csv"]
        assert softvote(root, "predict", *map(str, words), "--probabilities") == 0
        lines = [list(line.values())[4:] for line in table(tmp_path / "p.csv")]
        np.testing.assert_allclose(np.array(lines, float), np.load(folder / "test.npy"), atol=1e-4)
