"""A project beside Kaggle on this machine, and its command line."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import projects
import pytest
from conftest import Digits, make_once
from kaggle_place import KEY, Clock, Place, Server, let_package_wait, set_environment
from projects import softvote, write_project

from softvote import progress
from softvote.kaggle.transport import Client

TRAIN, TEST = 300, 100


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, digits: Digits) -> Path:
    """`project` after all four stages, and the folder `kaggle` with its competition and the solution."""
    return make_once(tmp_path_factory, "finished-stages", partial(_finish, digits=digits))


def _finish(folder: Path, digits: Digits) -> None:
    root = write_project(
        folder / "project", digits, TRAIN, TEST,
        competition=projects.competition(solution=None, kaggle="digits"), members={"cnn": {"model": "cnn"}},
    )  # fmt: skip
    shutil.copytree(root / "input", folder / "kaggle")
    (root / "input" / "digits" / "solution.csv").unlink()
    for stage in ("folds", "train", "ensemble", "submit"):
        assert softvote(root, stage, "tiny") == 0


@pytest.fixture
def server(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Kaggle with the competition 'digits'; the environment has its address and credentials."""
    folder = Path(shutil.copytree(finished / "kaggle", tmp_path / "kaggle"))
    with Server(folder, key=KEY, polls=2) as server:
        set_environment(monkeypatch, server.environment(), tmp_path)
        yield server


@pytest.fixture
def clock(server: Server, package: None, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time that waiting takes: it passes at once, but for kernels that are really run."""
    clock = Clock(server)
    monkeypatch.setattr(Client.__init__, "__defaults__", (clock.sleep, 60.0))
    monkeypatch.setattr(progress, "time", clock)
    let_package_wait(monkeypatch, clock.sleep)
    return clock


@pytest.fixture
def place(
    finished: Path, tmp_path: Path, server: Server, clock: Clock, package: None,
    capfd: pytest.CaptureFixture[str],
) -> Place:  # fmt: skip
    """A project after all four stages beside Kaggle."""
    return Place(Path(shutil.copytree(finished / "project", tmp_path / "project")), server, clock, capfd)
