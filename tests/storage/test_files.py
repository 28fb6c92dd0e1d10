"""softvote.storage.files: files whole or not at all, keys, locks, and where everything lies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from softvote.errors import UserError
from softvote.storage.files import (
    atomic_directory,
    atomic_write,
    read_json,
    remove_temp_files,
    write_json,
    write_text,
)
from softvote.storage.fingerprints import fingerprint, sha256_of
from softvote.storage.locks import try_lock
from softvote.storage.paths import Workspace

not_root = pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")


class InterruptedWritingError(Exception):
    """What may happen in the middle of writing."""


# ---------------------------------------------------------------- files


def test_a_file_is_written_with_its_folders(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c.txt"
    write_text(path, "line\r\nä\n")
    assert path.read_bytes() == "line\r\nä\n".encode()
    assert [file.name for file in path.parent.iterdir()] == ["c.txt"]


@pytest.mark.parametrize("error", [InterruptedWritingError, KeyboardInterrupt, SystemExit])
def test_an_exception_in_the_middle_leaves_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "old")
    with pytest.raises(error), atomic_write(path) as temporary:
        temporary.write_text("half of the new")
        assert path.read_text() == "old"
        raise error
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["file.txt"]


def test_a_reader_never_sees_half_of_it(tmp_path: Path) -> None:
    """The new file takes the old one's name; whoever has the old one open reads it to its end."""
    path = tmp_path / "file.txt"
    write_text(path, "old")
    with path.open() as old:
        write_text(path, "new")
        assert old.read() == "old" and path.read_text() == "new"


def test_without_an_old_file_none_is_left(tmp_path: Path) -> None:
    with pytest.raises(InterruptedWritingError), atomic_write(tmp_path / "file.txt") as temporary:
        temporary.write_text("half")
        raise InterruptedWritingError
    assert list(tmp_path.iterdir()) == []


def test_the_temporary_name_keeps_the_suffix_and_the_folder(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "array.npy") as temporary:
        assert temporary.suffix == ".npy" and temporary.parent == tmp_path
        assert temporary.name.startswith(".")
        temporary.write_bytes(b"x")


def test_a_killed_writer_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "old")
    code = (
        "import os, signal, sys; from pathlib import Path; from softvote.storage.files import atomic_write\n"
        "with atomic_write(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL and path.read_text() == "old"


def write_a_file(path: Path) -> None:
    write_text(path, "text")


def write_a_folder(path: Path) -> None:
    with atomic_directory(path) as temporary:
        (temporary / "file").write_text("text")


def claim(path: Path) -> None:
    with try_lock(path):
        pass


writers = pytest.mark.parametrize(
    "write", [write_a_file, write_a_folder, claim], ids=lambda write: write.__name__
)


@writers
def test_under_a_path_that_is_a_file(tmp_path: Path, write: Callable[[Path], None]) -> None:
    (tmp_path / "models").write_text("")
    with pytest.raises(UserError, match=r"models/sub/file: cannot be written \(Not a directory\)$"):
        write(tmp_path / "models" / "sub" / "file")
    assert (tmp_path / "models").read_text() == ""


@pytest.mark.parametrize("write", [write_a_file, claim])
def test_onto_a_path_that_is_a_folder(tmp_path: Path, write: Callable[[Path], None]) -> None:
    (tmp_path / "file" / "full").mkdir(parents=True)
    with pytest.raises(UserError, match=r"file: cannot be written \(Is a directory\)$"):
        write(tmp_path / "file")
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


@writers
@not_root
def test_into_a_read_only_folder(tmp_path: Path, write: Callable[[Path], None]) -> None:
    (tmp_path / "models").mkdir(mode=0o500)
    with pytest.raises(UserError, match=r"models/file: cannot be written \(Permission denied\)$"):
        write(tmp_path / "models" / "file")


@writers
def test_an_error_of_the_system_is_one_line(
    tmp_path: Path, write: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(UserError, match=r"models/file: cannot be written \(Permission denied\)$"):
        write(tmp_path / "models" / "file")


# ---------------------------------------------------------------- folders


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "a" / "folder"
    with atomic_directory(path) as temporary:
        (temporary / "file").write_text("text")
        assert not path.exists()
    assert (path / "file").read_text() == "text"
    assert [file.name for file in path.parent.iterdir()] == ["folder"]


def test_an_exception_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(InterruptedWritingError), atomic_directory(tmp_path / "folder") as temporary:
        (temporary / "file").write_text("text")
        raise InterruptedWritingError
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_stays(tmp_path: Path) -> None:
    write_text(tmp_path / "folder" / "old", "old")
    with pytest.raises(UserError, match="folder: cannot be written"):
        write_a_folder(tmp_path / "folder")
    assert [file.name for file in (tmp_path / "folder").iterdir()] == ["old"]
    assert [file.name for file in tmp_path.iterdir()] == ["folder"]


# ---------------------------------------------------------------- JSON and keys


def test_json_comes_back(tmp_path: Path) -> None:
    facts = {"b": [1, 2.5, None], "a": {"ä": True}}
    write_json(tmp_path / "facts.json", facts)
    assert read_json(tmp_path / "facts.json") == facts
    text = (tmp_path / "facts.json").read_text(encoding="utf-8")
    assert text.endswith("}\n") and text.index('"b"') < text.index('"a"') and "ä" in text


@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff", b"[1]", b"null", b"3"])
def test_what_holds_no_facts_gives_none(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "facts.json").write_bytes(content)
    assert read_json(tmp_path / "facts.json") == {}
    assert read_json(tmp_path / "facts.json" / "below") == {}


def test_a_key_does_not_depend_on_the_order() -> None:
    assert fingerprint({"a": 1, "b": {"c": 2, "d": [3]}}) == fingerprint({"b": {"d": [3], "c": 2}, "a": 1})


def test_a_key_depends_on_everything_else() -> None:
    facts = [
        {"a": 1},
        {"a": 2},
        {"b": 1},
        {"a": "1"},
        {"a": 1.5},
        {"a": None},
        ["a", 1],
        [1, "a"],
        [[1], "a"],
        "a",
    ]
    assert len({fingerprint(fact) for fact in facts}) == len(facts)


def test_keys_never_change() -> None:
    """Golden value: another one would make everything that was trained look stale."""
    assert fingerprint({"member": {"epochs": 2, "lr": 0.1}, "fold": 0}) == "3c96f85c087410bb"


def test_sha256_is_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    assert sha256_of(tmp_path / "file") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


# ---------------------------------------------------------------- locks

TRY = """
import sys
from pathlib import Path
from softvote.storage.locks import try_lock
with try_lock(Path(sys.argv[1])) as mine:
    print(mine)
"""


def seen_from_outside(lock: Path) -> str:
    done = subprocess.run([sys.executable, "-c", TRY, str(lock)], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_claim_is_seen_by_another_process_and_ends(tmp_path: Path) -> None:
    lock = tmp_path / "fold0" / ".lock"
    with try_lock(lock) as mine:
        assert mine and seen_from_outside(lock) == "False"
        with try_lock(lock) as again:
            assert not again
        assert seen_from_outside(lock) == "False"
    assert seen_from_outside(lock) == "True"


def test_an_exception_ends_the_claim(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    with pytest.raises(InterruptedWritingError), try_lock(lock):
        raise InterruptedWritingError
    with try_lock(lock) as mine:
        assert mine


def test_a_killed_process_claims_nothing(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    code = TRY.replace("print(mine)", "print(mine, flush=True); sys.stdin.read()")
    with subprocess.Popen(
        [sys.executable, "-c", code, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout and other.stdout.readline() == "True\n"
        with try_lock(lock) as mine:
            assert not mine
        other.kill()
        other.wait()
        with try_lock(lock) as mine:
            assert mine


# ---------------------------------------------------------------- places


def test_where_everything_lies(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    pipeline = workspace.pipeline("p")
    fold = pipeline.predictions("cnn").fold(3)
    places = {
        workspace.pipelines: "pipelines", workspace.cache: "models/.cache",
        workspace.autotune: "models/.cache/choices", workspace.throughputs: "models/.cache/paces",
        workspace.ledger: "submissions/ledger.csv", workspace.inputs: "input",
        workspace.input("c"): "input/c",
        workspace.submission("p", "0123456789ab"): "submissions/p-01234567.csv",
        pipeline.folds: "models/p/folds.csv", pipeline.folds_record: "models/p/folds.json",
        pipeline.predictions("cnn").oof: "models/p/cnn/oof.npz",
        pipeline.predictions("vote").vote: "models/p/vote/vote.json",
        fold.weights: "models/p/cnn/fold3/weights.safetensors", fold.recipe: "models/p/cnn/fold3/recipe.json",
        fold.log: "models/p/cnn/fold3/log.csv", fold.test: "models/p/cnn/fold3/test.npy",
        fold.scores: "models/p/cnn/fold3/scores.json",
    }  # fmt: skip
    assert {path.relative_to(tmp_path).as_posix() for path in places} == set(places.values())
    assert all(path == tmp_path / place for path, place in places.items())


def test_what_killed_processes_left_is_swept(tmp_path: Path) -> None:
    for name in (".oof.host.123.tmp.npz", ".lock", "oof.npz", "checkpoint.pt"):
        (tmp_path / name).touch()
    remove_temp_files(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {".lock", "oof.npz", "checkpoint.pt"}
    remove_temp_files(tmp_path / "not there")


def dead_process() -> int:
    """The number of a process that has ended."""
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


@pytest.mark.parametrize("name", ["scores.json", "cache"])
def test_what_a_killed_process_left_of_a_file_goes_when_it_is_written(tmp_path: Path, name: str) -> None:
    path, host = tmp_path / name, os.uname().nodename
    left = {
        whose: path.with_name(f".{path.stem}.{where}.tmp{path.suffix}")
        for whose, where in {
            "dead": f"{host}.{dead_process()}",
            "alive": f"{host}.1",
            "elsewhere": f"elsewhere.{dead_process()}",
        }.items()
    }
    writing = atomic_write if path.suffix else atomic_directory
    for half in left.values():
        half.touch() if path.suffix else (half / "part").mkdir(parents=True)
    with writing(path) as temporary:
        if path.suffix:
            temporary.touch()
    assert {whose for whose, half in left.items() if half.exists()} == {"alive", "elsewhere"}
