"""softvote.stages.check: what a pipeline would run, and how long that takes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import Digits
from projects import softvote, write_project

from softvote.errors import UserError
from softvote.scheduling import estimate
from softvote.scheduling.job import Job
from softvote.scheduling.job_batch import JobBatch
from softvote.scheduling.throughput import Throughput
from softvote.stages import check, open_run

TRAIN, TEST = 300, 100


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The members that were tried; nothing is, every pace is the same."""
    noted: list[str] = []

    def give(job: Job, work: JobBatch, gpus: list[int], threads: int) -> Throughput:
        noted.append(job.member_name)
        return Throughput(start=600.0, fed=150.0, trained=0.5, predicted=1000.0)

    monkeypatch.setattr(estimate, "measure", give)
    monkeypatch.setattr(estimate, "spawn_seconds", lambda: 3.0)
    return noted


@pytest.fixture
def project(tmp_path: Path, digits: Digits) -> Path:
    return write_project(tmp_path, digits, TRAIN, TEST)


def read_check(
    root: Path, capsys: pytest.CaptureFixture[str], *settings: str, mistake: str = ""
) -> tuple[dict[str, list[str]], str]:
    """What each member's line says of the trainings that are due, and all that was said.

    Args:
        mistake: what is said of it at the end, where one is expected.
    """
    capsys.readouterr()
    assert softvote(root, "check", "tiny", *settings) == bool(mistake)
    out, err = capsys.readouterr()
    assert err.endswith(mistake)
    lines = [line.split() for line in out.splitlines() if line.startswith(("cnn ", "resnet5 "))]
    return {cells[0]: cells[1:] for cells in lines if "softmax" not in cells}, out


def test_time_is_told_before_there_are_folds(
    project: Path, tried: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    cells, out = read_check(project, capsys)
    assert cells["cnn"] == cells["resnet5"] == ["2", "2", "0", "5", "min", "20", "min"]
    assert "time: about 1 h 20 min for what is due, 1 at once" in out
    assert out.endswith("before training: make folds PIPELINE=tiny\n") and tried == ["cnn", "resnet5"]
    assert not (project / "models" / "tiny").exists()


def test_the_second_look_measures_nothing(
    project: Path, tried: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor does the first after the folds are there."""
    read_check(project, capsys)
    assert softvote(project, "folds", "tiny") == 0
    _, out = read_check(project, capsys)
    assert tried == ["cnn", "resnet5"] and "before training" not in out


def test_what_is_done_takes_no_time(
    project: Path, tried: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert softvote(project, "folds", "tiny") == 0
    assert softvote(project, "train", "tiny", "--member", "cnn") == 0
    cells, out = read_check(project, capsys)
    assert tried == ["resnet5"] and cells["cnn"] == ["0", "2"] and cells["resnet5"][:2] == ["2", "2"]
    assert "time: about 40 min for what is due, 1 at once" in out
    assert softvote(project, "train", "tiny") == 0
    cells, out = read_check(project, capsys)
    assert cells == {} and "time: nothing is due\n" in out


def test_without_data_there_is_no_time(
    project: Path, tried: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(project / "input")
    fewest = ("members.resnet5=null", "members.cnn.epochs=1", "folds.train=1")
    cells, out = read_check(project, capsys, *(word for each in fewest for word in ("--set", each)))
    assert "1 training on 1 of 2 folds, 1 epoch in all\n" in out
    assert cells == {} and "time: not known before the data is there\n" in out and not tried


def test_a_cluster_is_not_tried(project: Path, tried: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    cells, out = read_check(project, capsys, "--set", "engine={name: ray}")
    assert cells["cnn"] == ["2", "2"] and "time: not known; the nodes of a cluster" in out and not tried


def test_what_cannot_be_trained_is_told_and_not_guessed(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(job: Job, *rest: Any) -> Throughput:
        if job.member_name == "cnn":
            raise UserError("the loss is nan")
        return Throughput(600.0, 150.0, 0.5, 1000.0)

    monkeypatch.setattr(estimate, "measure", fail)
    monkeypatch.setattr(estimate, "spawn_seconds", lambda: 3.0)
    cells, out = read_check(project, capsys, mistake="softvote: cnn: cannot be trained: the loss is nan\n")
    assert cells["cnn"] == ["2", "2"] and len(cells["resnet5"]) > 2
    assert "time: not known" in out and "about" not in out


@pytest.mark.slow
def test_a_real_look(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two processes of one thread each, for some seconds."""
    cells, out = read_check(project, capsys, "--set", "members.resnet5=null", "--set", "engine.workers=2")
    assert "time: about " in out and " s for what is due, 2 at once\n" in out
    assert float(cells["cnn"][2].replace(",", "")) > 0 and cells["cnn"][4] == "s"


def test_weights_that_are_not_here_are_told_before_anything_takes_time(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    def stop(*given: object, **more: object) -> None:
        raise UserError.at("networks", "are built")

    monkeypatch.setattr(check, "build_networks", stop)
    run = open_run(
        project, "tiny", ["members.cnn.model=test_resnet", "members.cnn.model_args.pretrained=true"]
    )
    with pytest.raises(UserError, match="are built"):
        check.run(run, lambda line: said.append(str(line)))
    (line,) = said
    assert line.startswith("note: published weights of cnn are not here; `train` fetches timm/test_resnet.")
    assert f"put them as {project / 'input' / 'weights' / 'test_resnet.safetensors'}" in line
