"""Kaggle on this machine: its server, its credentials, and the package as imported for both."""

from __future__ import annotations

import base64
import contextlib
import importlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest
from projects import softvote

from softvote.kaggle.testing import Failure as Failure
from softvote.kaggle.testing import KaggleServer as Server
from softvote.storage.paths import Workspace
from softvote.tracking.ledger import Entry, read_ledger

KEY = "a-key-of-letters"  # not known by its looks
BASIC = base64.b64encode(f"tester:{KEY}".encode()).decode()
SIGNED = "https://storage.example/blob?X-Signature=5ecre7"
TOKEN = "CfDJ8" + "aBc" * 20
LEAK = f"No\nkey {KEY}, Authorization: Basic {BASIC}, see {SIGNED}, token {TOKEN}"
SECRETS = (KEY, BASIC, "5ecre7", TOKEN)


@contextlib.contextmanager
def import_package(home: Path) -> Iterator[None]:
    """The package as imported for a server on this machine: it reads the environment when imported."""
    with pytest.MonkeyPatch.context() as patch:
        credentials = {"KAGGLE_USERNAME": "tester", "KAGGLE_KEY": KEY, "KAGGLE_API_ENVIRONMENT": "LOCALHOST"}
        set_environment(patch, credentials, home)
        forget_package(patch)
        import kaggle  # noqa: F401

        yield


def set_environment(patch: pytest.MonkeyPatch, environment: dict[str, str], home: Path) -> None:
    """No credentials but those in `environment` and in `home`."""
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_CONFIG_DIR"):
        patch.delenv(name, raising=False)
    patch.delenv("XDG_CONFIG_HOME", raising=False)
    patch.setenv("HOME", str(home))
    for name, value in environment.items():
        patch.setenv(name, value)


def forget_package(patch: pytest.MonkeyPatch) -> None:
    """Let the next import be the first."""
    for name in [name for name in sys.modules if name.split(".")[0] in ("kaggle", "kagglesdk")]:
        patch.delitem(sys.modules, name)


def let_package_wait(patch: pytest.MonkeyPatch, wait: Callable[[float], None]) -> None:
    """Let `wait` be called where the package would wait before it goes on with a download."""
    extended = importlib.import_module("kaggle.api.kaggle_api_extended")
    patch.setattr(extended, "time", SimpleNamespace(**vars(time) | {"sleep": wait}))


class Clock:
    """Stands for `time` where somebody waits: the time passes at once, unless a kernel is really run.

    Attributes:
        waits: the seconds of each wait.
    """

    def __init__(self, server: Server) -> None:
        self.waits: list[float] = []
        self._server = server

    def perf_counter(self) -> float:
        return sum(self.waits)

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        runs = [*self._server.kernels.values(), *self._server.reruns.values()]
        while any(kernel.running for kernel in runs):
            time.sleep(0.02)


class Told(NamedTuple):
    """What a command said."""

    code: int
    out: str
    err: list[str]


class Place:
    """A project beside Kaggle on this machine.

    Whatever is done here, no secret may be said or written.
    """

    def __init__(self, root: Path, server: Server, clock: Clock, capture: pytest.CaptureFixture[str]) -> None:
        self.root, self.server, self.clock, self._capture = root, server, clock, capture

    def softvote(self, *words: str) -> Told:
        """Run a command."""
        self._capture.readouterr()
        code = softvote(self.root, *words)
        out, err = self._capture.readouterr()
        written = {name: content or b"" for name, content in contents(self.root).items()}
        told = {"standard output": out.encode(), "standard error": err.encode()}
        assert not [
            (secret, name)
            for name, text in (written | told).items()
            for secret in SECRETS
            if secret.encode() in text
        ]
        return Told(code, out, err.splitlines())

    def done(self, *words: str) -> Told:
        """Run a command that does what it should."""
        told = self.softvote(*words)
        assert told.code == 0, told.err
        return told

    def refused(
        self, *words: str, told: Sequence[str] = (), changes: Sequence[str] = (), exit_code: int = 1
    ) -> str:
        """The one line with which a command ends that cannot do what it should.

        Args:
            told: lines on standard error before it.
            changes: files, or folders and all in them, that it may leave otherwise than they were.
        """
        before = contents(self.root)
        code, out, err = self.softvote(*words)
        assert code == exit_code, out
        assert err[:-1] == list(told)
        after = contents(self.root)
        changed = {name for name in before | after if before.get(name, 0) != after.get(name, 0)}
        assert not [name for name in changed if not name.startswith(tuple(changes))]
        assert err[-1].startswith("softvote: ")
        return err[-1].removeprefix("softvote: ")

    def asked(self) -> list[str]:
        """The calls that reached Kaggle since this was asked last."""
        calls = [request.call for request in self.server.requests]
        self.server.requests.clear()
        return calls

    def entries(self) -> list[Entry]:
        """The ledger."""
        return read_ledger(Workspace(self.root).ledger)


def contents(root: Path) -> dict[str, bytes | None]:
    """The bytes of every file under a folder, and None for every folder.

    Locks are left out, and when the competition's files were last looked at.
    """
    return {
        path.relative_to(root).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(root.rglob("*"))
        if path.suffix != ".lock" and not path.name.startswith("sources-")
    }
