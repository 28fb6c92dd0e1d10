"""softvote.scheduling.sequential: trainings one after the other in the command itself."""

from __future__ import annotations

import resource
from functools import partial
from pathlib import Path

import pytest
import torch
from conftest import Digits
from projects import softvote, write_project
from trainings import find_half_written, results, start

from softvote import machine
from softvote.storage.files import read_json
from softvote.storage.paths import PipelineFolder


def limit_files(size: int) -> None:
    """Let no file of this process grow beyond so many bytes; what would is refused as by a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.parametrize(("cores", "threads"), [(3, 3), (5, 4)])
def test_trainings_take_no_more_threads_than_there_are_cores(
    tmp_path: Path, digits: Digits, cores: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor more than torch takes by itself, which OMP_NUM_THREADS says."""
    write_project(tmp_path, digits, 60, 20, members={"cnn": {"model": "cnn", "epochs": 1}})
    assert softvote(tmp_path, "folds", "tiny") == 0
    monkeypatch.setattr(machine, "cores", lambda: cores)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        assert softvote(tmp_path, "train", "tiny", "--fold", "0") == 0
    finally:
        torch.set_num_threads(before)
    folder = PipelineFolder(tmp_path / "models" / "tiny").predictions("cnn").fold(0)
    assert read_json(folder.recipe)["threads"] == threads


@pytest.mark.parametrize(
    "seconds",
    [pytest.param("0", id="checkpoint"), pytest.param("1000", id="weights", marks=pytest.mark.slow)],
)
def test_a_disk_that_is_full_is_a_line_a_job_and_no_half_file(
    tmp_path: Path, digits: Digits, seconds: str
) -> None:
    for root in (tmp_path / "full", tmp_path / "empty"):
        write_project(root, digits, 60, 20)
        assert softvote(root, "folds", "tiny") == 0
    full, words = tmp_path / "full", ("train", "tiny", "--checkpoint", seconds)
    process = start(full, *words, before=partial(limit_files, 100_000))
    process.join()
    told = (full / "log.txt").read_text()
    assert process.exitcode == 1, told
    lines = [line for line in told.splitlines() if line.startswith("softvote: ")]
    assert len(lines) == 4 and "Traceback" not in told
    assert all("cannot be written (File too large)" in line for line in lines)
    left = {path.name for path in (full / "models" / "tiny").rglob("*") if path.is_file()}
    assert left == {"folds.csv", "folds.json", ".lock"} and not find_half_written(full)
    for root in (full, tmp_path / "empty"):
        assert softvote(root, *words) == 0
    assert results(full) == results(tmp_path / "empty")
