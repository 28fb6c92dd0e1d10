"""softvote.scheduling.ray: a real Ray cluster of two nodes on this machine gives what this process gives."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import data_fixtures
import numpy as np
import pytest
from conftest import Digits
from projects import RECIPE, competition, pipeline, process, softvote, write_digits, write_pipeline
from safetensors.numpy import load_file
from untrained import write_fold

from softvote.config.engine import RayEngine
from softvote.config.recipe import Member
from softvote.errors import UserError
from softvote.scheduling import planner
from softvote.scheduling import ray as engine
from softvote.scheduling.job import Job
from softvote.scheduling.ray import require_ray
from softvote.storage.files import read_json, write_json
from softvote.storage.locks import try_lock
from softvote.storage.paths import FoldFolder, Workspace
from softvote.task import Task

if find_spec("ray") is None:
    pytest.skip("Ray is not installed", allow_module_level=True)

MEMBERS: dict[str, Any] = {
    "resnet5": {"model": "resnet5", "epochs": 80, "augment": {"rotate": 10}},
    "cnn": {"model": "cnn", "ema": 0.9, "epochs": 40},
    "started": {"model": "cnn", "init_from": "cnn"},
    "taught": {
        "model": "cnn",
        "init_from": "cnn",
        "teacher": {"member": ["resnet5", "started"], "test_rows": True},
    },
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without processors, so that jobs run on the nodes that are added."""
    from ray.cluster_utils import Cluster  # takes long, and no other tests wait for it

    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": 80 << 20}
    made = Cluster(initialize_head=True, head_node_args=head)
    yield made
    made.shutdown()


def add_node(cluster: Any) -> Any:
    return cluster.add_node(num_cpus=1, object_store_memory=80 << 20)


@contextlib.contextmanager
def nodes(cluster: Any, count: int) -> Iterator[list[Any]]:
    """So many nodes of one processor each; those that are left are taken away again."""
    added = [add_node(cluster) for _ in range(count)]
    yield added
    for node in added:
        if node in cluster.worker_nodes:
            cluster.remove_node(node)


def project(root: Path, digits: Digits, engine: dict[str, Any], **facts: Any) -> Path:
    write_digits(root, digits, 300, 100)
    members = {"members": MEMBERS, "defaults": RECIPE} | facts
    write_pipeline(root, pipeline(engine=engine, **members))
    assert softvote(root, "folds", "tiny") == 0
    return root


def on(cluster: Any) -> dict[str, Any]:
    return {"name": "ray", "address": cluster.address}


def results(root: Path) -> dict[str, bytes]:
    """Weights and probabilities, of trainings and of members."""
    names = ("weights.safetensors", "oof.npz", "test.npy")
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted((root / "models" / "tiny").rglob("*"))
        if path.name in names
    }


def wait_for_checkpoints(root: Path, count: int, training: subprocess.Popen[str]) -> None:
    while len(list(root.rglob("checkpoint.pt"))) < count:
        assert training.poll() is None, training.communicate()
        time.sleep(0.05)


@pytest.mark.slow
def test_a_lost_node_changes_no_bit(cluster: Any, tmp_path: Path, digits: Digits) -> None:
    here = project(tmp_path / "here", digits, {"workers": 1})
    assert softvote(here, "train", "tiny") == 0
    there = project(tmp_path / "there", digits, on(cluster))
    with nodes(cluster, 2) as added:
        training = process(there, "train", "tiny", "--checkpoint", "0.1")
        wait_for_checkpoints(there, 2, training)
        cluster.remove_node(added[0], allow_graceful=False)
        said = training.communicate(timeout=240)
    assert training.returncode == 0, said
    assert "goes on in epoch" in said[1]
    assert results(there) == results(here)
    assert not list(there.rglob("checkpoint.*"))
    for stage in ("ensemble", "submit"):
        assert softvote(there, stage, "tiny") == 0


@pytest.mark.slow
def test_trainings_on_all_nodes_choose_alike(cluster: Any, tmp_path: Path, digits: Digits) -> None:
    """What the first finds is kept where the driver is, and stands for those that come later."""
    facts = {"members": {"cnn": {"model": "cnn"}}, "defaults": RECIPE | {"precision": "auto", "epochs": 1}}
    root = project(tmp_path, digits, on(cluster), **facts)
    with nodes(cluster, 2):
        training = process(root, "train", "tiny")
        said = training.communicate(timeout=240)
    assert training.returncode == 0, said
    (choice,) = Workspace(root).autotune.glob("*.json")
    folder = Workspace(root).pipeline("tiny").predictions("cnn")
    taken = [read_json(fold.recipe)["execution"] for fold in folder.folds()]
    assert taken == [read_json(choice)["found"]] * 2 and taken[0]["probe"]


@pytest.mark.slow
def test_two_processes_of_a_node_train_one_network(tmp_path: Path, digits: Digits) -> None:
    """On a cluster that Ray starts here; weights are those of one process but for the rounding of sums."""
    plain = {"model": "test_vit", "model_args": {"img_size": 8, "patch_size": 2}, "epochs": 1}
    facts: dict[str, Any] = {"members": {"plain": plain}, "defaults": RECIPE}
    here = project(tmp_path / "here", digits, {"workers": 1}, **facts)
    there = project(
        tmp_path / "there",
        digits,
        {"name": "ray", "address": "local", "cpus": 2, "devices_per_training": 2},  # not that of other tests
        **facts,
    )
    for root in (here, there):
        training = process(root, "train", "tiny", "--fold", "0")
        said = training.communicate(timeout=240)
        assert training.returncode == 0, said
    one, other = (load_file(next(root.rglob("weights.safetensors"))) for root in (here, there))
    for name, value in one.items():
        np.testing.assert_allclose(other[name], value, rtol=1e-4, atol=1e-4, err_msg=name)


def lazy_project(root: Path, digits: Digits, engine: dict[str, Any]) -> Path:
    """A member to train on images that stay in their files, which the pipeline names from where it runs."""
    folder = Workspace(root).input("digits")
    data_fixtures.write_competition(folder, "image_folder", digits)
    files = {"format": "image_folder", "images": "lazy"}
    facts = {"competition": competition(files=files, solution=None), "members": {"cnn": {"model": "cnn"}}}
    write_pipeline(root, pipeline(engine=engine, **facts))
    assert softvote(root, "folds", "tiny") == 0
    return root


@pytest.mark.slow
def test_nodes_find_images_that_stay_in_their_files(
    cluster: Any, tmp_path: Path, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nodes work in another folder than the command, whose paths may be relative."""
    here = lazy_project(tmp_path / "here", digits, {"workers": 1})
    assert softvote(here, "train", "tiny") == 0
    there = lazy_project(tmp_path / "there", digits, on(cluster))
    monkeypatch.chdir(there)
    with nodes(cluster, 1):
        training = process(Path(), "train", "tiny")
        said = training.communicate(timeout=240)
    assert training.returncode == 0, said
    assert results(there) == results(here)


@pytest.mark.slow
def test_images_that_a_node_does_not_have_are_a_line(
    cluster: Any, tmp_path: Path, digits: Digits, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    root = lazy_project(tmp_path, digits, on(cluster))
    images = Workspace(root).input("digits") / "train"
    send = engine._Driver._send

    def take_away(driver: Any, job: Any, due: Any) -> None:
        if images.exists():
            images.rename(tmp_path / "elsewhere")
        send(driver, job, due)

    monkeypatch.setattr(engine._Driver, "_send", take_away)
    capsys.readouterr()
    with nodes(cluster, 1):
        assert softvote(root, "train", "tiny", "--fold", "0") == 1
    [line] = last_words(capsys.readouterr().err)
    assert line.startswith(f"softvote: cnn fold 0: {images}/")
    assert "; images stay in their files; use a disk that all nodes share, shards" in line


ADDED: dict[str, Any] = {"images": "more/i.npy", "labels": "more/l.npy"}


@dataclass(frozen=True)
class TakenUp:
    """What became of a member's folds, trained here or to be trained there.

    The first is trained and not predicted with; 1 to 5 are due altogether. The checkpoint of 3 cannot be
    written, another run is busy with 4, and the disk of 5 knows no locks.

    Attributes:
        here: the folds as this process left them, all of them done.
        there: as they are after the cluster.
        said: by the command.
        reads: how often it read the extra rows.
    """

    here: list[FoldFolder]
    there: list[FoldFolder]
    said: str
    reads: int


@pytest.fixture(scope="module")
def taken_up(cluster: Any, tmp_path_factory: pytest.TempPathFactory, digits: Digits) -> TakenUp:
    here, there = (tmp_path_factory.mktemp(name) / "root" for name in ("here", "there"))
    members = {"cnn": {"model": "cnn", "extra_train": ADDED}}
    one_step = RECIPE | {"epochs": 1, "batch_size": 512}  # so that the first checkpoint is the last
    facts = {"members": members, "folds": {"count": 6}, "defaults": one_step}
    write_digits(here, digits, 300, 100)
    (here / "input" / "more").mkdir()
    for array, name in zip(digits, ("i", "l"), strict=True):
        np.save(here / "input" / "more" / f"{name}.npy", array[400:450])
    write_pipeline(here, pipeline(**facts))
    assert softvote(here, "folds", "tiny") == 0
    assert softvote(here, "train", "tiny") == 0
    shutil.copytree(here, there)
    write_pipeline(there, pipeline(engine=on(cluster), **facts))
    folds = [Workspace(root).pipeline("tiny").predictions("cnn").folds() for root in (here, there)]
    make_due(folds[1])
    said, reads = train_beside_another(cluster, there, *folds[1][4:])
    return TakenUp(*folds, said, reads)


def make_due(folds: list[FoldFolder]) -> None:
    """The first but for its predictions; the others altogether, except for a log that an older run left."""
    write_json(folds[0].recipe, read_json(folds[0].recipe) | {"seconds": 12345.0})
    folds[0].scores.unlink()
    for fold in folds[1:]:
        shutil.rmtree(fold.path)
        fold.path.mkdir()
        fold.crash.write_text("what another run said")
    folds[3].checkpoint.mkdir()  # so that no checkpoint can be written there


def train_beside_another(
    cluster: Any, root: Path, busy: FoldFolder, without_locks: FoldFolder
) -> tuple[str, int]:
    """Train on the cluster while another run is busy with a fold: what was said, and reads of extra rows."""
    said, reads, load = io.StringIO(), list[Any](), planner.load_extra

    def claim(lock: Path) -> contextlib.AbstractContextManager[bool]:
        if lock == without_locks.lock:
            raise OSError(errno.ENOLCK, "No locks available")
        return try_lock(lock)

    with pytest.MonkeyPatch.context() as patch, nodes(cluster, 1), try_lock(busy.lock):
        patch.setattr(planner, "load_extra", lambda *args: (reads.append(args), load(*args))[1])
        patch.setattr(engine, "try_lock", claim)
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            assert softvote(root, "train", "tiny", "--checkpoint", "0") == 1
    return said.getvalue(), len(reads)


def last_words(said: str) -> list[str]:
    return [line for line in said.splitlines() if line.startswith("softvote: ")]


@pytest.mark.slow
def test_a_training_that_is_there_is_only_predicted_with(taken_up: TakenUp) -> None:
    here, there = taken_up.here[0], taken_up.there[0]
    assert read_json(there.recipe)["seconds"] == 12345.0
    assert there.scores.read_bytes() == here.scores.read_bytes()


@pytest.mark.slow
def test_extra_rows_are_read_once_and_teach_on_every_node(taken_up: TakenUp) -> None:
    assert taken_up.reads == 2  # the other is the look at them before any training
    for fold in (1, 2):
        assert taken_up.there[fold].weights.read_bytes() == taken_up.here[fold].weights.read_bytes()


@pytest.mark.slow
def test_a_job_of_another_run_is_left_and_told(taken_up: TakenUp) -> None:
    busy = taken_up.there[4]
    assert "cnn fold 4: another run is busy with it\n" in taken_up.said
    assert not busy.weights.exists() and busy.crash.exists()


@pytest.mark.slow
def test_a_job_that_is_done_leaves_nothing_of_its_way(taken_up: TakenUp) -> None:
    for fold in taken_up.there[:3]:
        assert fold.scores.is_file() and not fold.crash.exists() and not fold.checkpoint.exists()


@pytest.mark.slow
def test_a_last_checkpoint_that_cannot_be_written_is_told(taken_up: TakenUp) -> None:
    path = taken_up.there[3].checkpoint.resolve()
    told = f"softvote: cnn fold 3: {path}: cannot be written (Is a directory)"
    assert told in last_words(taken_up.said)


@pytest.mark.slow
def test_a_disk_without_locks_is_told_and_stops_no_other(taken_up: TakenUp) -> None:
    told = last_words(taken_up.said)
    assert len(told) == 2
    assert f"softvote: cnn fold 5: [Errno {errno.ENOLCK}] No locks available" in told


@pytest.mark.slow
def test_processes_of_a_node_wait_as_the_command_does(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    monkeypatch.setenv("OMP_WAIT_POLICY", "as the command says")
    engine._connect(RayEngine(**on(cluster)))
    try:
        found = ray.get(ray.remote(os.getenv).options(num_cpus=0).remote("OMP_WAIT_POLICY"))
    finally:
        ray.shutdown()
    assert found == "as the command says"


@pytest.mark.slow
def test_a_file_of_weights_is_refused_before_a_cluster_is_looked_for(
    tmp_path: Path, digits: Digits, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = write_fold(tmp_path / "begun", {"model": "cnn"}).weights
    members = {"cnn": {"model": "cnn", "model_args": {"checkpoint_path": str(begun)}}}
    root = project(tmp_path, digits, {"name": "ray", "address": "127.0.0.1:1"}, members=members)
    capsys.readouterr()
    assert softvote(root, "train", "tiny") == 1
    assert capsys.readouterr().err == (
        f"softvote: members.cnn.model_args: starts from {begun}, which engine ray takes to no node; "
        "train it here first: --member cnn --set engine=local\n"
    )
    assert softvote(root, "train", "tiny", "--set", "engine={name: local, workers: 1}") == 0
    Workspace(root).pipeline("tiny").predictions("cnn").fold(0).scores.unlink()
    capsys.readouterr()
    assert softvote(root, "train", "tiny") == 1  # what is left to do needs no such file
    assert "engine.address" in capsys.readouterr().err


@pytest.mark.slow
def test_a_job_that_fails_stops_no_other(cluster: Any, tmp_path: Path, digits: Digits) -> None:
    lost = {"model": "resnet5", "optimizer": {"name": "sgd", "lr": 1e30}}
    members = {"cnn": {"model": "cnn"}, "lost": lost, "started": {"model": "resnet5", "init_from": "lost"}}
    members |= {"heir": {"model": "cnn", "init_from": "barred"}, "barred": {"model": "cnn"}}
    root = project(tmp_path, digits, on(cluster), members=members)
    barred = Workspace(root).pipeline("tiny").predictions("barred").path
    barred.write_text("where its folder would be")
    with nodes(cluster, 1):
        training = process(root, "train", "tiny")
        out, err = training.communicate(timeout=240)
    assert training.returncode == 1
    assert "cnn        2/2" in out
    told = last_words(err)
    assert len(told) == 8
    for fold in (0, 1):
        assert any(line.startswith(f"softvote: barred fold {fold}: {barred}") for line in told)
        assert f"softvote: heir fold {fold}: starts from barred fold {fold}, which failed" in told
    for fold in (0, 1):
        assert any(f"lost fold {fold}: the loss is" in line for line in told)
        assert f"softvote: started fold {fold}: starts from lost fold {fold}, which failed" in told


# ---------------------------------------------------------------- what is handed out, without a cluster


def job_at(folder: Path, **member: Any) -> Job:
    recipe = Member.model_validate({"model": "cnn"} | member)
    return Job("cnn", recipe, 0, FoldFolder(folder), {"extra_train": "rows of one file"}, "", Task(10))


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A driver that notes in `sent` what it would hand to Ray, and in `kept` what it would put there."""
    found, sent, kept = cast(Any, object.__new__(engine._Driver)), list[Any](), list[object]()
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(put=lambda what: kept.append(what) or what))
    found.sent, found.kept, found.left, found.running, found.extra = sent, kept, [], {}, {}
    found.dataset, found.data, found.keeper, found.spec = "the data", "data", "keeper", RayEngine(name="ray")
    found.work = SimpleNamespace(checkpoint_seconds=60, workspace=Workspace(tmp_path))
    found.do = SimpleNamespace(remote=lambda *of: sent.append(of) or f"number {len(sent)}")
    with contextlib.ExitStack() as found.claims:
        yield found


def test_extra_rows_of_several_trainings_are_put_there_once(driver: Any, tmp_path: Path) -> None:
    for name in ("one", "other"):
        driver._take_up(replace(job_at(tmp_path / name), extra=lambda dataset: f"rows for {dataset}"))
    assert [(of[0].extra, of[2]) for of in driver.sent] == [(None, "rows for the data")] * 2
    assert driver.kept == ["rows for the data"] and len(driver.running) == 2


@pytest.mark.parametrize(("cpus", "processes", "threads"), [(4, 2, 2), (3, 2, 1), (3, 1, 3), (0.5, 1, 1)])
def test_processes_that_train_together_share_the_cores(
    driver: Any, tmp_path: Path, cpus: float, processes: int, threads: int
) -> None:
    driver.spec = RayEngine(name="ray", cpus=cpus, devices_per_training=processes)
    driver._take_up(job_at(tmp_path / "cnn"))
    [[*_, node]] = driver.sent
    assert (node.threads, node.processes) == (threads, processes)


def test_what_another_run_is_busy_with_is_not_handed_out(driver: Any, tmp_path: Path) -> None:
    job = job_at(tmp_path / "cnn")
    with try_lock(job.folder.lock):
        driver._take_up(job)
    assert [left.kind for left in driver.left] == ["busy"] and not driver.sent


def test_a_file_of_weights_is_refused_before_anything_is_connected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace())
    monkeypatch.setattr(engine, "_connect", lambda spec: pytest.fail("looked for a cluster"))
    begun = {"checkpoint_path": str(tmp_path / "begun.safetensors")}
    work: Any = SimpleNamespace(jobs=[job_at(tmp_path / "cnn", model_args=begun)])
    with pytest.raises(UserError, match="which engine ray takes to no node"):
        engine.run_on_cluster(work, RayEngine(name="ray"))


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere"])
def test_no_cluster_is_one_line(
    tmp_path: Path, digits: Digits, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    root = project(tmp_path, digits, {"name": "ray", "address": address})
    capsys.readouterr()
    assert softvote(root, "train", "tiny") == 1
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith(f"softvote: engine.address: no Ray cluster at {address} (")


def test_without_ray_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install 'softvote\[cluster\]'"):
        require_ray()
