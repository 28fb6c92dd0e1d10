"""The tour of docs/kaggle.md, as a person takes it: `make` beside the stand-in server, on the demo's data."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from kaggle_place import set_environment

from softvote.storage.fingerprints import sha256_of
from softvote.storage.paths import Workspace
from softvote.tracking.leaderboard import read_leaderboard
from softvote.tracking.ledger import read_ledger

REPOSITORY = Path(__file__).resolve().parents[1]
TARGETS = "data folds train ensemble submit leaderboard kernel"
SLUG = "softvote-tour"

# The tour's pipeline, of two networks that are trained for a moment.
QUICK = {
    "extends": "tour",
    "folds": {"count": 2},
    "defaults": {"epochs": 4, "no_aug_epochs": 1},
    "members": {"big_kernel_cnn": None},
    "engine": {"workers": 1},
}


def commands_of_make(words: str, **environment: str) -> list[str]:
    """The softvote commands that make would run."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    for name in (
        "SEND",
        "PUSH",
        "FORCE",
        "AGAIN",
        "ZIP",
        "NAME",
        "SET",
        "ROOT",
        "PIPELINE",
        "MODE",
        "OWNER",
        "WAIT",
        "SUBMIT",
        "FETCH",
    ):
        own.pop(name, None)
    done = subprocess.run(
        ["make", "--dry-run", "--directory", str(REPOSITORY), *shlex.split(words)],
        capture_output=True, text=True, check=True, env=own | environment,
    )  # fmt: skip
    program = ".venv/bin/softvote "
    return [
        shlex.join(shlex.split(line.removeprefix(program)))
        for line in done.stdout.splitlines()
        if line.startswith(program)
    ]


def test_what_make_runs() -> None:
    stages = "folds tour + train tour + ensemble tour"
    local = ["data tour", f"{stages} + submit tour", "leaderboard --fetch", "kernel tour"]
    there = ["data tour", stages, "submit tour --send", "leaderboard --fetch", "kernel tour --push"]
    assert commands_of_make(f"{TARGETS} PIPELINE=tour") == local
    assert commands_of_make(f"{TARGETS} PIPELINE=tour SEND=1 PUSH=1") == there
    assert commands_of_make(f"{TARGETS} PIPELINE=tour SEND=1 PUSH=1 ROOT=tour") == [
        f"--root tour {line}" for line in there
    ]


@pytest.mark.parametrize(
    ("words", "calls"),
    [
        ("train", ["train tour"]),
        ("ensemble submit WAIT=0", ["ensemble tour + submit tour --no-wait"]),
        (
            "folds train check train submit ensemble WAIT=1 SET='a=1+2 b=2'",
            [
                "folds tour --set a=1+2 --set b=2 + train tour --set a=1+2 --set b=2 --wait",
                "check tour --set a=1+2 --set b=2",
                "submit tour --set a=1+2 --set b=2 + ensemble tour --set a=1+2 --set b=2",
            ],
        ),
    ],
)
def test_stages_beside_each_other_are_one_call(words: str, calls: list[str]) -> None:
    """In the order of the goals, each once, and each with its own options."""
    assert commands_of_make(f"{words} PIPELINE=tour") == calls


@pytest.mark.parametrize("value", ["0", ""])
def test_nothing_is_sent_but_for_1(value: str) -> None:
    plain = ["submit tour", "kernel tour"]
    assert (
        commands_of_make(f"submit kernel PIPELINE=tour SEND={value} PUSH={value} FORCE={value} AGAIN={value}")
        == plain
    )
    assert (
        commands_of_make("submit kernel PIPELINE=tour", SEND=value, PUSH=value, FORCE=value, AGAIN=value)
        == plain
    )


@pytest.mark.parametrize("value", ["yes", "true", "11", "-1"])
@pytest.mark.parametrize("name", ["SEND", "FORCE", "AGAIN", "PUSH", "WAIT"])
def test_what_is_neither_yes_nor_no_is_told(value: str, name: str) -> None:
    """Before anything is made, where it was typed; an environment may hold such a name for others."""
    for words, environment in ((f"check submit kernel {name}={value}", {}), ("submit kernel", {name: value})):
        with pytest.raises(subprocess.CalledProcessError) as caught:
            commands_of_make(words, **environment)
        assert f"{name}={value} says neither yes nor no" in caught.value.stderr
        assert ".venv/bin/softvote check" not in caught.value.stdout
    assert commands_of_make("check PIPELINE=tour", **{name: value}) == ["check tour"]


def test_sent_again_and_trained_there() -> None:
    assert commands_of_make("submit PIPELINE=tour SEND=1 FORCE=1") == ["submit tour --send --force"]
    assert commands_of_make("submit PIPELINE=tour SEND=1 AGAIN=1") == [
        "submit tour --send --force"
    ]  # as it was called
    assert commands_of_make("train submit PIPELINE=tour SEND=1 WAIT=0") == [
        "train tour",
        "submit tour --send --no-wait",
    ]
    assert commands_of_make("train submit PIPELINE=tour SEND=1 WAIT=1") == [
        "train tour --wait",
        "submit tour --send",
    ]
    assert commands_of_make("kernel PIPELINE=tour MODE=train PUSH=1") == ["kernel tour --mode train --push"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """What `make tour` puts into its folder, and a quick pipeline."""
    folder = tmp_path / "tour"
    (folder / "pipelines").mkdir(parents=True)
    for name in ("demo.yaml", "tour.yaml"):
        shutil.copy(REPOSITORY / "pipelines" / name, folder / "pipelines")
    (folder / "pipelines" / "quick.yaml").write_text(yaml.safe_dump(QUICK))
    _run(
        [
            sys.executable,
            str(REPOSITORY / "scripts" / "make_data" / "demo_digits.py"),
            str(folder / "kaggle" / SLUG),
        ]
    )
    return folder


@pytest.fixture
def shell(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The server by hand, and its `export` lines in the environment."""
    command = [sys.executable, "-m", "softvote.kaggle.testing", str(root / "kaggle")]
    server = subprocess.Popen([*command, "--run-kernels"], stdout=subprocess.PIPE, text=True)
    try:
        set_environment(monkeypatch, _read_exports(server), tmp_path)
        yield
    finally:
        server.send_signal(signal.SIGINT)
        server.communicate()
    assert server.returncode == 0


def _read_exports(server: subprocess.Popen[str]) -> dict[str, str]:
    """The variables that the server names before it serves."""
    assert server.stdout
    exported: dict[str, str] = {}
    while (line := server.stdout.readline()).startswith("export "):
        [assignment] = shlex.split(line.removeprefix("export "))
        name, _, value = assignment.partition("=")
        exported[name] = value
    assert line.startswith(f"# serving {SLUG}; ")
    return exported


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_tour(root: Path, shell: None) -> None:
    commands = commands_of_make(f"{TARGETS} SEND=1 PUSH=1 ROOT={root} PIPELINE=quick")
    told = {}
    for command in commands:
        words = shlex.split(command)
        told[words[2]] = _run([sys.executable, "-m", "softvote", *words])
    assert list(told) == ["data", "folds", "submit", "leaderboard", "kernel"]  # folds with train and ensemble
    workspace = Workspace(root)
    entry, of_kernel = read_ledger(workspace.ledger)
    file = workspace.submissions / entry.file
    assert (entry.test_rows, entry.rows, entry.solution) == (599, 1198, None)
    [(competition, submission)] = read_leaderboard(workspace.leaderboard)
    assert (competition, submission.ref, submission.file) == (SLUG, entry.ref, file.name)
    assert submission.status == "complete" and submission.public is not None
    assert f"{SLUG}: public {submission.public:.3%}; compare with: make leaderboard" in told["submit"]
    assert "1 scored row, too few for a rank correlation" in told["leaderboard"]
    assert workspace.leaderboard_picture.is_file()
    output = workspace.kernel("quick", "infer").output / "submission.csv"
    assert sha256_of(output) == sha256_of(file)
    assert (of_kernel.kernel, of_kernel.sha256) == ("tester/softvote-quick-infer/1", entry.sha256)
