"""softvote.stages.train: what is due is trained, and what others write beside it is left alone."""

from __future__ import annotations

import os
from pathlib import Path

from conftest import Digits
from projects import softvote, write_project

from softvote.artifacts import PipelineFolder


def test_what_another_command_is_writing_is_left_alone(tmp_path: Path, digits: Digits) -> None:
    """`make augmentation` draws into the folder of a member; what a process that is gone left there goes."""
    write_project(tmp_path, digits, 60, 20, members={"cnn": {"model": "cnn", "epochs": 1}})
    folder = PipelineFolder(tmp_path / "models" / "tiny").voter("cnn")
    assert softvote(tmp_path, "folds", "tiny") == 0
    folder.path.mkdir()
    drawn = half_written(folder.augmentation, os.getpid())
    abandoned = [half_written(path, NO_PROCESS) for path in (folder.oof, folder.test, folder.scores)]
    assert softvote(tmp_path, "train", "tiny") == 0
    assert folder.scores.is_file() and drawn.exists()
    assert not any(path.exists() for path in abandoned)


NO_PROCESS = 1 << 30


def half_written(path: Path, process: int) -> Path:
    """The name under which a process of this machine is writing a file; see `artifacts.written_whole`."""
    temporary = path.with_name(f".{path.stem}.{os.uname().nodename}.{process}.tmp{path.suffix}")
    temporary.write_bytes(b"half")
    return temporary
