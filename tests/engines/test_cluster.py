"""softvote.engines.cluster: a real Ray cluster of two nodes on this machine gives what this process gives."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Digits
from projects import RECIPE, pipeline, process, softvote, write_digits, write_pipeline

from softvote.artifacts import Workspace, read_json
from softvote.engines.cluster import require_ray
from softvote.errors import UserError

Cluster = pytest.importorskip("ray.cluster_utils").Cluster

MEMBERS: dict[str, Any] = {
    "resnet5": {"model": "resnet5", "epochs": 80, "augment": {"rotate": 10}},
    "cnn": {"model": "cnn", "ema": 0.9, "epochs": 40},
    "started": {"model": "cnn", "init_from": "cnn"},
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without processors, so that jobs run on the nodes that are added."""
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


def test_trainings_on_all_nodes_choose_alike(cluster: Any, tmp_path: Path, digits: Digits) -> None:
    """What the first finds is kept where the driver is, and stands for those that come later."""
    facts = {"members": {"cnn": {"model": "cnn"}}, "defaults": RECIPE | {"precision": "auto", "epochs": 1}}
    root = project(tmp_path, digits, on(cluster), **facts)
    with nodes(cluster, 2):
        training = process(root, "train", "tiny")
        said = training.communicate(timeout=240)
    assert training.returncode == 0, said
    (choice,) = Workspace(root).choices.glob("*.json")
    folder = Workspace(root).pipeline("tiny").voter("cnn")
    taken = [read_json(fold.recipe)["execution"] for fold in folder.folds()]
    assert taken == [read_json(choice)["found"]] * 2 and taken[0]["probe"]


def test_a_job_that_fails_stops_no_other(cluster: Any, tmp_path: Path, digits: Digits) -> None:
    lost = {"model": "resnet5", "optimizer": {"name": "sgd", "lr": 1e30}}
    members = {"cnn": {"model": "cnn"}, "lost": lost, "started": {"model": "resnet5", "init_from": "lost"}}
    root = project(tmp_path, digits, on(cluster), members=members)
    with nodes(cluster, 1):
        training = process(root, "train", "tiny")
        out, err = training.communicate(timeout=240)
    assert training.returncode == 1
    assert "cnn        2/2" in out
    told = [line for line in err.splitlines() if line.startswith("softvote: ")]
    assert len(told) == 4
    for fold in (0, 1):
        assert any(f"lost fold {fold}: the loss is" in line for line in told)
        assert f"softvote: started fold {fold}: starts from lost fold {fold}, which failed" in told


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
