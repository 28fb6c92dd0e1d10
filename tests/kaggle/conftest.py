"""Kaggle on this machine with one small competition, and a client that does not wait."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from kaggle_calls import Client
from kaggle_place import KEY, Server, let_package_wait, set_environment

from softvote.kaggle import testing


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    digits = tmp_path / "competitions" / "digits"
    digits.mkdir(parents=True)
    (digits / "train.csv").write_text("label,pixel0\n1,2\n")
    (digits / "sample_submission.csv").write_text("ImageId,Label\n1,0\n2,0\n")
    (digits / "solution.csv").write_text("ImageId,Label\n1,3\n2,4\n")
    with testing.KaggleServer(digits.parent, key=KEY, polls=1) as server:
        set_environment(monkeypatch, server.environment(), tmp_path)
        yield server


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def client(server: Server, waits: list[float], monkeypatch: pytest.MonkeyPatch) -> Client:
    let_package_wait(monkeypatch, waits.append)
    return Client(wait=waits.append)


@pytest.fixture
def filled(server: Server) -> Server:
    """A server with a dataset, and a kernel that has run."""
    server.datasets["tester/there"] = testing.HostedDataset({}, {"a.csv": b"a\n1\n"})
    server.kernels["tester/done"] = testing.HostedKernel(output={"submission.csv": b"ImageId,Label\n" * 99})
    return server
