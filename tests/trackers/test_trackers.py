"""softvote.trackers: what the real packages wrote is read back, and none can end or hold up a training."""

from __future__ import annotations

import json
import sqlite3
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, Literal, cast

import projects
import pytest
from conftest import Digits
from projects import softvote

from softvote.config.pipeline import Pipeline
from softvote.errors import UserError
from softvote.storage.locks import try_lock
from softvote.storage.paths import tracker_lock
from softvote.trackers import TRACKERS, require_tracker
from softvote.trackers.base import TrackedTraining, Tracker, TrackerRun
from softvote.training import track
from softvote.training.state import TrainingState
from softvote.training.track import TrackTraining

Read = Callable[[Path], dict[str, list[tuple[int, float]]]]


def read_tensorboard(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tiny" / "cnn" / "fold0"))
    events.Reload()
    assert "0.004" in str(events.Tensors("recipe/text_summary")[0])
    names = events.Tags()["scalars"]
    return {name: [(each.step, each.value) for each in events.Scalars(name)] for name in names}


def read_mlflow(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    [run] = client.search_runs([client.get_experiment_by_name("tiny").experiment_id])
    assert run.info.run_name == "tiny/cnn/fold0" and run.info.status == "FINISHED"
    assert run.data.params["optimizer.lr"] == "0.004"
    histories = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
    return {name: [(each.step, each.value) for each in found] for name, found in histories.items()}


def read_wandb(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from wandb.proto.wandb_internal_pb2 import Record

    found: dict[str, list[tuple[int, float]]] = {}
    files = sorted(folder.rglob("*.wandb"))
    assert files and all("key1-tiny-cnn-fold0" in file.name for file in files)
    for file in files:
        for record in map(Record.FromString, leveldb_records(file.read_bytes())):
            items = {item.key or "/".join(item.nested_key): item.value_json for item in record.history.item}
            for name, value in items.items():
                if not name.startswith("_") and name != "epoch":
                    found.setdefault(name, []).append((int(items["epoch"]), json.loads(value)))
    return found


def leveldb_records(content: bytes) -> Iterator[bytes]:
    """Records of a log in LevelDB's format, behind the seven bytes with which W&B's files begin."""
    place, whole = 7, b""
    while place + 7 <= len(content):
        if 32768 - place % 32768 < 7:  # no header fits into the rest of a block
            place += 32768 - place % 32768
            continue
        _, length, kind = struct.unpack_from("<IHB", content, place)
        whole += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # a full one, or the last part of one
            yield whole
            whole = b""


def read_trackio(folder: Path) -> dict[str, list[tuple[int, float]]]:
    [database] = folder.glob("tiny*.db")
    with sqlite3.connect(database) as connection:
        rows = connection.execute("SELECT run_name, step, metrics FROM metrics ORDER BY step").fetchall()
    assert {name for name, _, _ in rows} == {"tiny/cnn/fold0"}
    found: dict[str, list[tuple[int, float]]] = {}
    for _, step, metrics in rows:
        for name, value in json.loads(metrics).items():
            found.setdefault(name, []).append((step, value))
    return found


READERS: dict[str, Read] = {
    "tensorboard": read_tensorboard,
    "mlflow": read_mlflow,
    "wandb": read_wandb,
    "trackio": read_trackio,
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where a tracker writes; nobody is signed in anywhere."""
    for name in ("WANDB_MODE", "WANDB_API_KEY", "MLFLOW_TRACKING_URI", "TRACKIO_SPACE_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "runs"))
    yield tmp_path / "runs"


def tracked(folder: Path) -> TrackedTraining:
    return TrackedTraining(folder, "tiny/cnn/fold0", "key1", {"optimizer.lr": 0.004, "path.log": "log.csv"})


def row(epoch: int) -> dict[str, float]:
    return {"epoch": epoch, "loss": 1 / epoch, "accuracy": 0.5, "learning_rate": 0.1, "validation_loss": 0.25}


def train_epochs(tracker: TrackTraining, first: int, last: int, epochs: int) -> None:
    """What the trainer tells, of a training that goes on behind epoch `first`."""
    log = [row(epoch) for epoch in range(1, first + 1)]
    state: Any = SimpleNamespace(label="cnn fold 0", log=log, steps=first, epochs=epochs)
    tracker.on_start(cast(TrainingState, state))
    for epoch in range(first + 1, last + 1):
        log.append(row(epoch))
        tracker.on_epoch(cast(TrainingState, state))
    tracker.on_end(cast(TrainingState, state))


def test_every_tracker_is_read_back() -> None:
    assert set(READERS) == set(TRACKERS)


@pytest.mark.parametrize("name", TRACKERS)
def test_what_is_logged_is_on_disk_and_a_training_that_goes_on_goes_on_in_its_run(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip(TRACKERS[name].package, reason=f"softvote[{name}] is not installed")
    if name == "mlflow":
        pytest.importorskip("sqlalchemy", reason="MLflow's local store needs SQLAlchemy")
    if name == "trackio":
        set_trackio_folder(monkeypatch, folder)
    monkeypatch.setattr(track, "PATIENCE", 120.0)  # of a machine that is busy
    tracker = TRACKERS[name](name=name)
    train_epochs(TrackTraining(tracker, tracked(folder)), 0, 2, epochs=3)  # it was stopped
    train_epochs(TrackTraining(tracker, tracked(folder)), 2, 3, epochs=3)
    printed = capfd.readouterr()
    assert f"tracker {name}" not in printed.err, printed.err
    assert printed.out == ""
    found = READERS[name](folder)
    assert [step for step, _ in found["train/loss"]] == [1, 2, 3]
    assert [value for _, value in found["train/loss"]] == pytest.approx([1, 1 / 2, 1 / 3])
    assert [value for _, value in found["validation/loss"]] == pytest.approx([0.25] * 3)


def set_trackio_folder(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Trackio reads the variable once in a process, when it is imported."""
    import sys

    import trackio

    for module in list(sys.modules.values()):
        if (getattr(module, "__name__", "") or "").startswith("trackio") and hasattr(module, "TRACKIO_DIR"):
            monkeypatch.setattr(module, "TRACKIO_DIR", folder)
    trackio.context_vars.current_run.set(None)


class Broken(Tracker):
    """Fails where it is told to, or never answers."""

    package: ClassVar[str] = "json"

    name: Literal["broken"] = "broken"
    at: str

    def open(self, training: TrackedTraining) -> TrackerRun:
        if self.at == "open":
            raise RuntimeError("no such server\nand more")
        return _BrokenRun(self.at)


class _BrokenRun:
    def __init__(self, at: str) -> None:
        self.at = at

    def log(self, epoch: int, values: Any) -> None:
        if self.at == "log":
            raise OSError("disk full")
        if self.at == "hang":
            threading.Event().wait()

    def end(self, finished: bool) -> None:
        if self.at == "end":
            raise SystemError("gone")


@pytest.mark.parametrize(
    ("at", "told"),
    [
        ("open", "failed (no such server); the training goes on"),
        ("log", "failed (disk full)"),
        ("end", "failed (gone)"),
        ("hang", "did not answer"),
    ],
)
def test_a_tracker_that_breaks_is_told_once_and_the_training_goes_on(
    at: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(track, "PATIENCE", 0.2 if at == "hang" else 60.0)
    train_epochs(TrackTraining(Broken(at=at), tracked(tmp_path)), 0, 3, epochs=3)
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("cnn fold 0: tracker broken") and told in lines[0]


def test_nobody_removes_what_a_tracker_writes_meanwhile(tmp_path: Path) -> None:
    free: list[bool] = []

    class Looking(Broken):
        def open(self, training: TrackedTraining) -> TrackerRun:
            with try_lock(tracker_lock(training.folder)) as mine:
                free.append(mine)
            return super().open(training)

    train_epochs(TrackTraining(Looking(at=""), tracked(tmp_path)), 0, 1, epochs=1)
    with try_lock(tracker_lock(tmp_path)) as mine:
        assert [*free, mine] == [False, True]


class Missing(Tracker):
    package: ClassVar[str] = "no_such_package"

    name: Literal["missing"] = "missing"


def test_a_package_that_is_missing_is_told_before_anything_is_trained() -> None:
    with pytest.raises(UserError, match=r"tracker: no_such_package is not installed; pip install"):
        require_tracker(Missing())


def test_wandb_stays_here_unless_somebody_signed_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker: Any = TRACKERS["wandb"](name="wandb")
    assert tracker._resolve_mode() == "offline"
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    assert tracker._resolve_mode() == "online"
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert tracker._resolve_mode() == "offline"


def test_a_tracker_is_no_part_of_what_is_trained(digits: Digits, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="softvote[tensorboard] is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    root = projects.write_project(tmp_path, digits, members={"cnn": {"model": "cnn", "curves": True}})
    assert softvote(root, "folds", "tiny") == 0
    words = ["train", "tiny", "--fold", "0", "--set", "engine.workers=1"]
    assert softvote(root, *words, "--set", "tracker=tensorboard") == 0
    events = EventAccumulator(str(root / "models" / ".trackers" / "tensorboard" / "tiny" / "cnn" / "fold0"))
    events.Reload()
    assert [each.step for each in events.Scalars("validation/accuracy")] == [1, 2]
    before = projects.times(root / "models" / "tiny")
    assert softvote(root, *words) == 0
    assert projects.times(root / "models" / "tiny") == before


def test_a_cluster_keeps_nothing_of_a_tracker() -> None:
    facts = projects.pipeline(engine={"name": "ray"}, tracker="tensorboard")
    with pytest.raises(ValueError, match="nodes of a cluster keep nothing"):
        Pipeline.model_validate(facts)
