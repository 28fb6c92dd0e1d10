"""Fixtures that more than one test module uses."""

from __future__ import annotations

import gc
import os
import shutil
import signal

# Tiny networks gain nothing from threads, and lose a lot of time where other programs run beside them.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# As the command line sets it, which is too late where torch is loaded: threads that spin starve other tests.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# Bits are compared; an accelerator is tested where this names one.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
# A shell lets what it starts in the background ignore Ctrl-C, and all that this starts would as well.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from kaggle_place import import_package
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from softvote.storage.paths import Workspace

# A shell that runs the tests in the background lets them ignore Ctrl-C, and the programs they start too.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No power fails in a test, and a disk that is asked to be sure each time keeps all others waiting.
os.fsync = lambda file: None

pytest_plugins = ["budget", "grids"]


def pytest_collection() -> None:
    """Look for no garbage while all is imported: there is none."""
    gc.disable()


def pytest_collection_finish() -> None:
    """What was imported stays to the end: to look at it whenever garbage is collected takes seconds."""
    gc.freeze()
    gc.enable()


Digits = tuple[NDArray[np.uint8], NDArray[np.int64]]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An empty project folder."""
    return Workspace(tmp_path)


@pytest.fixture
def known_throughput(monkeypatch: pytest.MonkeyPatch) -> None:
    """`check` finds every member equally fast, and tries none."""
    from softvote.scheduling import estimate
    from softvote.scheduling.throughput import Throughput

    monkeypatch.setattr(estimate, "measure", lambda *_: Throughput(600.0, 150.0, 0.5, 1000.0))
    monkeypatch.setattr(estimate, "spawn_seconds", lambda: 3.0)


@pytest.fixture(scope="session", autouse=True)
def forkserver() -> None:
    """The server that processes are forked from, with all that any test needs there: one for all tests.

    Before any of them, for one that a test started by itself would not be deaf to Ctrl-C.
    """
    from softvote.scheduling import processes
    from softvote.tuning import study

    processes.prepare(*study.IMPORTED)


@pytest.fixture(scope="session")
def digits() -> Digits:
    """Real handwritten digits: images uint8 (1797, 8, 8), 0..255, and labels int64 (1797,)."""
    data = load_digits()
    return np.round(data.images * (255 / 16)).astype(np.uint8), data.target.astype(np.int64)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The kaggle package as a server on this machine needs it."""
    with import_package(tmp_path_factory.mktemp("home")):
        yield


def make_once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that is made once in a run of tests, by the worker that needs it first.

    Args:
        make: given the folder, which is empty. Nobody may change the folder afterwards.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / f"shared-{name}"
    done = folder / "done"
    with FileLock(folder.with_suffix(".lock")):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)  # half made by a test that was ended
            folder.mkdir()
            make(folder)
            done.touch()
    return folder
