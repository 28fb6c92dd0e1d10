"""softvote.scheduling: what every engine does with jobs that fail, wait, or are another's."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Container
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from conftest import Digits
from projects import softvote, times, write_project
from trainings import results, two_cores, until

from softvote.progress import poll
from softvote.stages import train
from softvote.storage.files import read_json, write_json
from softvote.storage.locks import try_lock
from softvote.storage.paths import PipelineFolder

PATIENCE = 300.0  # seconds, on a machine that does much else

ONE = {"cnn": {"model": "cnn"}}
TWO = {"cnn": {"model": "cnn"}, "resnet5": {"model": "resnet5"}}

pytestmark = [
    pytest.mark.usefixtures("forkserver"),  # started with all that is needed here
    pytest.mark.parametrize("workers", [1, 2]),
]


def project(root: Path, digits: Digits, **facts: Any) -> PipelineFolder:
    """A pipeline with its folds; two trainings a member, of a few steps each."""
    write_project(root, digits, 60, 20, **facts)
    assert softvote(root, "folds", "tiny") == 0
    return PipelineFolder(root / "models" / "tiny")


@pytest.mark.slow_but("1")
def test_engines_leave_the_same_bytes(tmp_path: Path, digits: Digits, workers: int) -> None:
    project(tmp_path / "here", digits)
    project(tmp_path / "other", digits, engine={"workers": workers + 1})
    with two_cores():
        for root in (tmp_path / "here", tmp_path / "other"):
            assert softvote(root, "train", "tiny") == 0
    assert results(tmp_path / "here") == results(tmp_path / "other")


def test_one_that_diverges_takes_only_its_heirs_along(
    tmp_path: Path, digits: Digits, workers: int, capsys: pytest.CaptureFixture[str]
) -> None:
    members = {
        "grandchild": {"model": "cnn", "init_from": "child"},
        "child": {"model": "cnn", "init_from": "wild"},
        "wild": {"model": "cnn", "optimizer": {"name": "sgd", "lr": 1e30}},
        "cnn": {"model": "cnn"},
    }
    folder = project(tmp_path, digits, members=members, engine={"workers": workers})
    assert softvote(tmp_path, "train", "tiny", "--member", "cnn") == 0
    assert softvote(tmp_path, "train", "tiny") == 1  # and no work that goes well
    told = capsys.readouterr().err
    for fold in (0, 1):
        assert f"softvote: wild fold {fold}: the loss is " in told
        assert f"softvote: child fold {fold}: starts from wild fold {fold}, which failed\n" in told
        assert f"softvote: grandchild fold {fold}: starts from child fold {fold}, which failed\n" in told
        assert not folder.predictions("child").fold(fold).weights.exists()
        assert not folder.predictions("wild").fold(fold).crash.exists()
    assert re.search(
        r" in epoch \d \(step \d, learning rate \de\+\d\d\); lower the learning rate or set ", told
    )
    assert softvote(tmp_path, "ensemble", "tiny") == 1
    told = capsys.readouterr().err
    assert "softvote: members.wild: fold 0, 1 is due (new); run the train stage" in told


@pytest.mark.slow_but("1")
def test_one_that_cannot_be_written_stops_no_other(
    tmp_path: Path, digits: Digits, workers: int, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = project(tmp_path, digits, members=TWO, engine={"workers": workers})
    weights = folder.predictions("cnn").fold(0).weights
    weights.mkdir(parents=True)
    assert softvote(tmp_path, "train", "tiny") == 1
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("softvote: ")]
    assert told == [f"softvote: {weights}: cannot be written (Is a directory)"]
    assert (
        folder.predictions("resnet5").scores.is_file() and folder.predictions("cnn").fold(1).scores.is_file()
    )
    assert not folder.predictions("cnn").fold(0).crash.exists()
    weights.rmdir()
    assert softvote(tmp_path, "train", "tiny") == 0


def test_an_error_nobody_foresaw_is_a_line_with_its_log_and_stops_no_other(
    tmp_path: Path, digits: Digits, workers: int, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = project(tmp_path, digits, members=TWO, engine={"workers": workers})
    assert softvote(tmp_path, "train", "tiny") == 0
    mine = folder.predictions("resnet5").fold(0)
    recipe = read_json(mine.recipe)
    write_json(mine.recipe, recipe | {"mean": []})
    for fold in (0, 1):
        folder.predictions("resnet5").fold(fold).scores.unlink()
    capsys.readouterr()
    assert softvote(tmp_path, "train", "tiny") == 1
    out, err = capsys.readouterr()
    what = "crashed (RuntimeError: stack expects a non-empty TensorList"
    said = f"softvote: resnet5 fold 0: {what}; all of it in {mine.crash})"
    assert [line for line in err.splitlines() if line.startswith("softvote: ")] == [said]
    assert "Traceback" not in err and "Traceback" in mine.crash.read_text()
    assert folder.predictions("resnet5").fold(1).scores.is_file()
    assert re.search(r"^resnet5 +1/2 .*unfinished", out, re.MULTILINE)
    mine.recipe.unlink()
    assert softvote(tmp_path, "train", "tiny") == 0
    assert not mine.crash.exists()


@pytest.mark.slow_but("1")
def test_a_job_of_another_run_is_left_and_told(
    tmp_path: Path, digits: Digits, workers: int, capsys: pytest.CaptureFixture[str]
) -> None:
    members = {"heir": {"model": "cnn", "init_from": "cnn"}} | TWO
    folder = project(tmp_path, digits, members=members, engine={"workers": workers})
    mine = folder.predictions("cnn").fold(1)
    with try_lock(mine.lock):
        mine.crash.write_text("what the other says")
        assert softvote(tmp_path, "train", "tiny") == 0
    out, err = capsys.readouterr()
    assert "cnn fold 1: another run is busy with it\n" in out
    assert "heir fold 1: waits for cnn fold 1, which another run is busy with" in out
    assert not mine.weights.exists() and "softvote:" not in err
    assert mine.crash.read_text() == "what the other says"
    assert folder.predictions("resnet5").scores.is_file() and not folder.predictions("cnn").scores.exists()
    assert softvote(tmp_path, "train", "tiny") == 0
    assert folder.predictions("heir").scores.is_file() and not mine.crash.exists()


@pytest.mark.slow_but("1")
def test_a_run_that_finds_all_busy_says_so_or_waits(
    tmp_path: Path,
    digits: Digits,
    workers: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = project(tmp_path, digits, members=ONE, engine={"workers": workers}, folds={"count": 2})
    jobs = [folder.predictions("cnn").fold(fold) for fold in (0, 1)]
    found_busy = threading.Event()

    def poll_and_tell(what: str, look: Callable[[], str], lasting: Container[str]) -> str:
        def look_and_tell() -> str:
            state = look()
            found_busy.set()
            return state

        return poll(what, look_and_tell, lasting)

    monkeypatch.setattr(train, "poll", poll_and_tell)
    with ThreadPoolExecutor(1) as pool:
        with try_lock(jobs[0].lock), try_lock(jobs[1].lock):
            assert softvote(tmp_path, "train", "tiny") == 1
            out, err = capsys.readouterr()
            what = "nothing was done: another run is busy with all that is due, 2 trainings"
            assert err.splitlines()[-1] == f"softvote: train: {what}; wait for it with WAIT=1 (--wait)"
            assert "cnn fold 1: another run is busy with it\n" in out
            run = pool.submit(softvote, tmp_path, "train", "tiny", "--wait")
            assert found_busy.wait(PATIENCE)
            assert not any(job.weights.exists() for job in jobs)
        assert run.result() == 0
    assert "2 trainings: another run is busy, 0:0" in capsys.readouterr().err
    assert folder.predictions("cnn").scores.is_file()


def test_a_job_that_another_run_leaves_meanwhile_is_done(
    tmp_path: Path, digits: Digits, workers: int, capsys: pytest.CaptureFixture[str]
) -> None:
    members = {"heir": {"model": "cnn", "init_from": "cnn"}} | TWO
    folder = project(tmp_path, digits, members=members, engine={"workers": workers}, folds={"count": 3})
    with ThreadPoolExecutor(1) as pool:
        with try_lock(folder.predictions("cnn").fold(0).lock):
            run = pool.submit(softvote, tmp_path, "train", "tiny")
            until(folder.predictions("resnet5").fold(0).scores, run)
        assert run.result() == 0
    assert folder.predictions("heir").scores.is_file() and folder.predictions("cnn").scores.is_file()
    assert "busy" not in capsys.readouterr().out


@pytest.mark.slow_but("1")
def test_done_jobs_are_not_done_again(tmp_path: Path, digits: Digits, workers: int) -> None:
    folder = project(tmp_path, digits, members=TWO, engine={"workers": workers})
    assert softvote(tmp_path, "train", "tiny") == 0
    before = times(folder.path)
    assert softvote(tmp_path, "train", "tiny") == 0
    assert times(folder.path) == before
