"""softvote.stages.train: what is due is trained, and what others write beside it is left alone."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import projects
import pytest
from conftest import Digits
from projects import probabilities, softvote, times, write_project

from softvote.ensembling.ensemble import Ensemble, load_ensemble
from softvote.export import writer
from softvote.export.program import as_predict_fn, create_module
from softvote.export.writer import Check
from softvote.storage.files import read_json
from softvote.storage.paths import ExportFolder, PipelineFolder
from softvote.tracking.ledger import read_ledger


def test_what_another_command_is_writing_is_left_alone(tmp_path: Path, digits: Digits) -> None:
    """`make augmentation` draws into the folder of a member; what a process that is gone left there goes."""
    write_project(tmp_path, digits, 60, 20, members={"cnn": {"model": "cnn", "epochs": 1}})
    folder = PipelineFolder(tmp_path / "models" / "tiny").predictions("cnn")
    assert softvote(tmp_path, "folds", "tiny") == 0
    folder.path.mkdir()
    drawn = half_written(folder.augmentation, os.getpid())
    abandoned = [half_written(path, NO_PROCESS) for path in (folder.oof, folder.test, folder.scores)]
    assert softvote(tmp_path, "train", "tiny") == 0
    assert folder.scores.is_file() and drawn.exists()
    assert not any(path.exists() for path in abandoned)


NO_PROCESS = 1 << 30


def half_written(path: Path, process: int) -> Path:
    """The name under which a process of this machine is writing a file (`atomic_write`)."""
    temporary = path.with_name(f".{path.stem}.{os.uname().nodename}.{process}.tmp{path.suffix}")
    temporary.write_bytes(b"half")
    return temporary


# ---------------------------------------------------------------- more networks from one line

ONE = {"model": "basic_cnn", "epochs": 1}
SMALL = {"image": {"height": 16, "width": 16}}


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory, digits: Digits) -> Path:
    """A member and one that starts from it, on two folds, trained once and voting; never changed."""
    root = tmp_path_factory.mktemp("repeats")
    large = np.kron(digits[0][:80], np.ones((1, 2, 2), np.uint8))
    members = {"a": ONE, "b": ONE | {"init_from": "a"}}
    write_project(
        root, (large, digits[1][:80]), 60, 20, members=members,
        competition=projects.competition(**SMALL), ensemble={"rule": "mean"},
    )  # fmt: skip
    for stage in ("folds", "train", "ensemble"):
        assert softvote(root, stage, "tiny") == 0
    return root


@pytest.fixture
def project(once: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(once, tmp_path / "project"))


REPEATED = ["--set", "members.a.repeats=3", "--set", "members.b.repeats=2"]


def test_repeats_are_trained_beside_what_is_there_and_vote_as_one(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = PipelineFolder(project / "models" / "tiny")
    before = {name: when for name, when in times(folder.path).items() if "/fold" in name}
    assert softvote(project, "train", "tiny", *REPEATED) == 0
    said = capsys.readouterr().out
    assert "train: 4 of 10 trainings are there and unchanged" in said
    assert (
        "a: train fold 0, 1 repeat 1; fold 0, 1 repeat 2 (new)" in said
        and "b: train fold 0, 1 repeat 1" in said
    )
    after = times(folder.path)
    assert {name: after[name] for name in before} == before  # the first repeat is what it was
    names = [fold.path.name for fold in folder.predictions("a").folds()]
    assert names == [f"fold{fold}{repeat}" for repeat in ("", "-repeat1", "-repeat2") for fold in (0, 1)]
    trainings = folder.predictions("a").folds()
    assert len({read_json(training.recipe)["seed"] for training in trainings}) == 6
    test = np.mean([np.load(training.test) for training in trainings], axis=0)
    np.testing.assert_allclose(np.load(folder.predictions("a").test), test, atol=1e-6)
    parts = [
        [probabilities(folder.predictions("a").fold(fold, repeat).path) for repeat in range(3)]
        for fold in (0, 1)
    ]
    assert np.abs(parts[0][0] - parts[0][1]).max() > 1e-3
    with np.load(folder.predictions("a").oof) as oof, np.load(trainings[0].oof) as first:
        np.testing.assert_array_equal(oof["rows"], np.arange(60))
        np.testing.assert_allclose(oof["probabilities"][first["rows"]], np.mean(parts[0], axis=0), atol=1e-6)
    starts = [read_json(folder.predictions("b").fold(1, repeat).recipe) for repeat in (0, 1)]
    sources = [read_json(folder.predictions("a").fold(1, repeat).recipe) for repeat in (0, 1)]
    for start, source in zip(starts, sources, strict=True):
        assert start["source_weights_sha256"] == source["weights_sha256"]


REFIT = ["--set", "members.a.refit=true", "--set", "members.b.refit=true"]


def test_a_refit_predicts_test_rows_and_has_no_score(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = PipelineFolder(project / "models" / "tiny")
    before = {name: times(folder.path)[name] for name in times(folder.path) if "/fold" in name}
    oof = probabilities(folder.predictions("a").path)
    assert softvote(project, "train", "tiny", *REFIT) == 0
    said = capsys.readouterr().out
    assert "a: train refit (new)" in said and "b: train refit (new)" in said
    assert "a: its refit on all rows predicts test rows too, and is in no out-of-fold score" in said
    after = times(folder.path)
    assert {name: after[name] for name in before} == before
    np.testing.assert_array_equal(probabilities(folder.predictions("a").path), oof)
    refit = folder.predictions("a").refit
    assert not {"accuracy", "log_loss"} & read_json(refit.scores).keys()
    assert len(probabilities(refit.path)) == 0 and read_json(refit.recipe)["images_an_epoch"] == 60
    trainings = folder.predictions("a").folds()
    assert [training.path.name for training in trainings] == ["fold0", "fold1", "refit"]
    test = np.mean([np.load(training.test) for training in trainings], axis=0)
    np.testing.assert_allclose(np.load(folder.predictions("a").test), test, atol=1e-6)
    source = read_json(folder.predictions("a").refit.recipe)["weights_sha256"]
    assert read_json(folder.predictions("b").refit.recipe)["source_weights_sha256"] == source
    assert softvote(project, "train", "tiny", *REFIT) == 0
    assert "train: 6 of 6 trainings are there and unchanged" in capsys.readouterr().out


def test_networks_of_every_kind_are_exported_and_in_the_ledger(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    exported: list[Ensemble] = []

    def run_only(
        voter: Ensemble, folder: ExportFolder, pipeline: str, fingerprint: str, check: Check
    ) -> dict[str, float]:
        exported.append(voter)
        writer.refuse_others(voter, check)
        found = as_predict_fn(create_module(voter, "cpu")[0])(check.images, check.addends)
        np.testing.assert_allclose(found, check.stored, atol=1e-5)
        folder.path.mkdir()
        for path in folder.programs:
            path.write_bytes(b"a program")
        return {"program.pt2": 0.0, "program.onnx": 0.0}

    monkeypatch.setattr(writer, "write_program", run_only)  # to write eight networks takes ten seconds
    words = [*REFIT, "--set", "members.a.repeats=2"]
    for stage in ("train", "ensemble", "submit"):
        assert softvote(project, stage, "tiny", *words) == 0
    said = capsys.readouterr().out
    assert "refits on all rows predict test rows too, and are in no out-of-fold score" in said
    (entry,) = read_ledger(project / "submissions" / "ledger.csv")
    assert entry.folds == "2/2 + refit"
    assert softvote(project, "export", "tiny", *words) == 0
    assert "vote: mean of 8 networks" in capsys.readouterr().out
    for voter in (*exported, load_ensemble(project / "models" / "tiny" / "vote")):
        assert [len(member.folds) for member in voter.voting] == [5, 3]
    assert len(exported) == 1


def test_a_refit_starts_from_a_refit(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert softvote(project, "check", "tiny", *REFIT[2:]) != 0
    assert "members.b.refit: starts from a, which has none; set it there too" in capsys.readouterr().err


def test_no_refit_where_something_is_left_to_measure(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--set", "members.a.head=regression", "--set", "members.b.init_from=null", *REFIT[:2]]
    assert softvote(project, "train", "tiny", *words) != 0
    said = capsys.readouterr().err
    assert "members.a: refit: head: regression is measured on rows that a network was not trained on" in said


def test_shares_decide_the_vote(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = PipelineFolder(project / "models" / "tiny")
    mean = folder.predictions("vote").scores.read_bytes()
    shares = ["--set", "ensemble.rule=auto", "--set", "ensemble.shares={b: 0.9}"]
    assert softvote(project, "ensemble", "tiny", *shares) == 0
    said = capsys.readouterr().out
    assert "vote: shares (a 0.100, b 0.900)" in said and "\n= shares" in said and "\n= mean " in said
    a, b = (folder.predictions(name) for name in "ab")
    for stored, parts in (
        (np.load(folder.predictions("vote").test), [np.load(each.test) for each in (a, b)]),
        (probabilities(folder.predictions("vote").path), [probabilities(each.path) for each in (a, b)]),
    ):
        np.testing.assert_allclose(stored, 0.1 * parts[0] + 0.9 * parts[1], atol=1e-6)
    assert softvote(project, "ensemble", "tiny", *shares[:3], "ensemble.shares={b: 0.8}") == 0
    assert "b 0.800" in capsys.readouterr().out  # other shares, another vote
    assert softvote(project, "ensemble", "tiny") == 0
    assert folder.predictions("vote").scores.read_bytes() == mean


def test_fewer_repeats_train_nothing(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What voted first votes again, to the same bits."""
    folder = PipelineFolder(project / "models" / "tiny").predictions("a")
    before = folder.oof.read_bytes(), folder.test.read_bytes()
    assert softvote(project, "train", "tiny", *REPEATED[:2]) == 0
    assert (folder.oof.read_bytes(), folder.test.read_bytes()) != before
    capsys.readouterr()
    assert softvote(project, "train", "tiny") == 0
    assert "train: 4 of 4 trainings are there and unchanged" in capsys.readouterr().out
    assert (folder.oof.read_bytes(), folder.test.read_bytes()) == before
