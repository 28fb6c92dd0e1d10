"""softvote clean: what is outdated goes, the rest is told with its size; what decides bits or cannot be made
again stays."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import Digits
from projects import softvote, write_digits, write_project

from softvote.data.dataset import read_dataset
from softvote.ops import cpu_kernels, numba_cache
from softvote.stages import open_run
from softvote.storage.locks import file_lock, shared_lock, try_lock
from softvote.storage.paths import Workspace, tracker_lock


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Caches, a download, and machine code of today's and of another source."""
    assert cpu_kernels  # it must not be imported only now, while its folder is another
    code = tmp_path / "code"
    monkeypatch.setattr(numba_cache, "_KEPT", {code: {"0123abcd"}})
    for name, size in (
        ("code/cpu_kernels.f-1.py311.0123abcd.00.nbc", 2_000_000),
        ("code/cpu_kernels.f-1.py311.99999999.00.nbc", 3_000_000),
        ("code/cpu_kernels.f-1.py311.00.nbc", 1_000_000),
        ("code/cpu_kernels.cpython-311.pyc", 10),
        ("models/.cache/abc/train_pixels.npy", 5_000_000),
        ("models/.cache/choices/a.json", 10),
        ("models/.cache/paces/a.json", 10),
        ("models/tiny/cnn/fold0/weights.safetensors", 10),
        ("input/.downloads/digits/whole/digits.zip", 7_000_000),
        ("input/digits/train.csv", 10),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size))
    return tmp_path


def names(root: Path) -> set[str]:
    return {path.name for path in root.rglob("*") if path.is_file()}


OLD = {"cpu_kernels.f-1.py311.99999999.00.nbc", "cpu_kernels.f-1.py311.00.nbc"}


def test_old_machine_code_goes_and_the_rest_is_told(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = names(root)
    assert softvote(root, "clean") == 0
    assert before - names(root) == OLD
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["old", "machine", "code", "2", "4.0", "MB", "removed"] in lines
    assert ["parsed", "input", "files", "1", "5.0", "MB", "kept"] in lines
    assert " ".join(lines[-1]) == (
        "freed 4.0 MB; 14.0 MB more with --all, which are made or fetched again when needed"
    )


def test_all_goes_but_for_what_trainings_need(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert softvote(root, "clean", "--all") == 0
    assert names(root) == {"a.json", "weights.safetensors", "train.csv", "cpu_kernels.cpython-311.pyc"}
    assert capsys.readouterr().out.splitlines()[-1] == "freed 18.0 MB"
    assert softvote(root, "clean") == 0
    assert capsys.readouterr().out == "nothing is kept that could be made again\n"


# ---------------------------------------------------------------- parsed input files


def read_digits(root: Path, *settings: str) -> Path:
    """Read the competition of 'tiny'; the folder of the cache that it was read to."""
    run = open_run(root, "tiny", settings)
    before = set(run.workspace.cache.glob("[!.]*"))
    read_dataset(run.pipeline.competition, run.workspace)
    [made] = set(run.workspace.cache.glob("[!.]*")) - before
    return made


def rows_of(text: str) -> dict[str, list[str]]:
    """State and name of what was found, by what it is."""
    rows = [re.split(r"  +", line.strip()) for line in text.splitlines()]
    return {row[0]: row[3:] for row in rows if len(row) > 3}


OUTDATED, UNREAD, READ = (
    f"parsed input files{more}" for more in (", since changed", " that no pipeline reads", "")
)


def test_parsed_files_that_changed_since_go(
    tmp_path: Path, digits: Digits, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_project(tmp_path, digits, 60, 20)
    former = read_digits(root)
    write_digits(root, digits, 50, 20)
    newer = read_digits(root)
    assert softvote(root, "clean") == 0
    rows = rows_of(capsys.readouterr().out)
    assert rows[OUTDATED][0] == "removed" and rows[READ][0] == "kept"
    assert newer.is_dir() and not former.exists()
    write_digits(root, digits, 60, 20)
    assert read_digits(root) == former  # what came back is read again


def test_parsed_files_that_no_pipeline_reads_go_when_they_are_named(
    tmp_path: Path, digits: Digits, capsys: pytest.CaptureFixture[str]
) -> None:
    """They may be those of a value that is set on the command line."""
    root = write_project(tmp_path, digits, 60, 20)
    read, unread = read_digits(root), read_digits(root, "competition.labels={first: 0, last: 10}")
    assert softvote(root, "clean") == 0
    rows = rows_of(capsys.readouterr().out)
    assert rows[UNREAD] == ["kept", "unread"] and rows[READ] == ["kept"]
    for _ in range(2):  # where nothing is left of it, nothing is to do
        assert softvote(root, "clean", "unread") == 0
        assert read.is_dir() and not unread.exists()


def test_what_another_process_decodes_now_stays(root: Path) -> None:
    cache = Workspace(root).cache
    for key in ("0123", "4567"):
        partial = cache / f".two-words-{key}.partial"
        partial.mkdir()
        (partial / f"of-{key}.npy").write_bytes(b"some")
    with file_lock(cache / "0123"):
        assert softvote(root, "clean", "--all") == 0
    left = names(root)
    assert "of-0123.npy" in left and "of-4567.npy" not in left


# ---------------------------------------------------------------- what nothing makes again


@pytest.fixture
def with_trials(root: Path) -> Path:
    for name in (
        "models/tiny/tune/study.db", "models/tiny/tune/abc/trial0/cnn/fold1/weights.safetensors",
        "models/other/tune/tune.json", "models/.trackers/tensorboard/tiny/cnn/fold0/events",
    ):  # fmt: skip
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(1_000_000))
    return root


def test_trials_and_curves_are_told_and_stay(with_trials: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert softvote(with_trials, "clean", "--all") == 0
    out = capsys.readouterr().out
    rows = rows_of(out)
    assert rows["trials of tiny"] == ["kept", "tune/tiny"]
    assert rows["trials of other"] == ["kept", "tune/other"]
    assert rows["curves for tensorboard"] == ["kept", "trackers/tensorboard"]
    assert out.endswith("; 4.0 MB more by their names alone, and nothing makes them again\n")
    assert {"study.db", "tune.json", "events"} <= names(with_trials)


def test_trials_and_curves_go_by_name(with_trials: Path) -> None:
    weights = with_trials / "models/tiny/cnn/fold0/weights.safetensors"
    assert softvote(with_trials, "clean", "tune/tiny", "trackers/tensorboard") == 0
    models = with_trials / "models"
    assert not (models / "tiny/tune").exists() and not (models / ".trackers/tensorboard").exists()
    assert (models / "other/tune/tune.json").is_file() and weights.is_file()


def test_unknown_names_remove_nothing(with_trials: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = names(with_trials)
    assert softvote(with_trials, "clean", "tune/tyni", "tune/tiny", "models/tiny") == 1
    assert names(with_trials) == before
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("softvote: tune/tyni: is not kept under this name; did you mean 'tune/tiny'?")
    assert second.startswith("softvote: models/tiny: is not kept under this name")


def test_a_search_that_is_under_way_stays(with_trials: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = names(with_trials)
    with try_lock(Workspace(with_trials).pipeline("tiny").tune.lock):
        assert softvote(with_trials, "clean", "tune/tiny", "tune/other") == 1
    assert names(with_trials) - {".lock"} == before
    assert capsys.readouterr().err == "softvote: tune/tiny: another run is busy with it; wait for it\n"


def test_curves_that_a_training_writes_stay(with_trials: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, lock = names(with_trials), tracker_lock(Workspace(with_trials).tracker("tensorboard"))
    with shared_lock(lock), shared_lock(lock):  # of two trainings side by side
        assert softvote(with_trials, "clean", "trackers/tensorboard") == 1
    assert names(with_trials) == {*before, lock.name}
    said = capsys.readouterr().err
    assert said == "softvote: trackers/tensorboard: another run is busy with it; wait for it\n"
    assert softvote(with_trials, "clean", "trackers/tensorboard") == 0
    assert "events" not in names(with_trials)
    assert lock.stem not in capsys.readouterr().out.replace("trackers/tensorboard", "")


def test_a_download_that_is_under_way_stays(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, lock = names(root), Workspace(root).download_lock("digits")
    with try_lock(lock):
        assert softvote(root, "clean", "--all") == 1
        assert names(root) == {*before, lock.name}
        assert softvote(root, "clean") == 0  # which leaves downloads alone
    assert capsys.readouterr().err.startswith(
        "softvote: downloads, not unpacked: another run is busy with it"
    )
    assert softvote(root, "clean", "--all") == 0
    assert "digits.zip" not in names(root) and lock.name not in names(root)
