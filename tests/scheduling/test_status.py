"""softvote.scheduling.status: what is due, told from files of which each is read once per phase."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import projects
import pytest
from conftest import Digits

from softvote import stages
from softvote.ensembling.predictions import Predictions, write_predictions
from softvote.inference.record import ExecutionRecord, TrainingRecord
from softvote.scheduling.job import Job
from softvote.scheduling.status import read_status, source_weights
from softvote.stages.plan import Plan, make_plan
from softvote.storage import snapshot
from softvote.storage.fingerprints import sha256_of

FOLDS, ROWS, TESTS = 5, 60, 20
MEMBERS = {
    "first": {"model": "cnn"},
    "second": {"model": "cnn", "init_from": "first"},
    "third": {"model": "cnn", "init_from": "first"},
    "fourth": {"model": "cnn", "init_from": "third"},
    "fifth": {"model": "cnn"},
}


@pytest.fixture
def plan(tmp_path: Path, digits: Digits) -> Plan:
    """Twenty-five jobs that are done, by files as trainings leave them; nothing was trained."""
    projects.write_project(tmp_path, digits, ROWS, TESTS, members=MEMBERS, folds={"count": FOLDS})
    assert projects.softvote(tmp_path, "folds", "tiny") == 0
    plan = make_plan(stages.open_run(tmp_path, "tiny"))
    for job in plan.jobs:
        write_training(job, plan)
    return plan.reread()


def write_training(job: Job, plan: Plan, weights: str = "none") -> None:
    """The files of one training, with probabilities that say nothing."""
    job.folder.path.mkdir(parents=True, exist_ok=True)
    job.folder.weights.write_text(weights)
    TrainingRecord(
        fingerprint=job.training_fingerprint,
        member=job.member.model_dump(mode="json"),
        classes=job.inputs["classes"],
        image=job.inputs["image"],
        mean=[0.0],
        std=[1.0],
        seconds=0.0,
        execution=ExecutionRecord(device="cpu", precision="fp32", memory_format="contiguous"),
        weights_sha256=sha256_of(job.folder.weights),
        source_weights_sha256=source_weights(job),
        inputs=job.inputs,
    ).write(job.folder.recipe)
    rows = np.flatnonzero(plan.folds == job.fold)
    oof, test = (np.full((count, 10), 0.1, np.float32) for count in (len(rows), TESTS))
    labels = plan.dataset.train_labels
    write_predictions(job.folder, Predictions(rows, oof, test), labels, plan.task, job.prediction_fingerprint)


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> Counter[Path]:
    """How often each file was hashed to tell what is due."""
    counts = Counter[Path]()

    def count(path: Path) -> str:
        counts[path] += 1
        return sha256_of(path)

    monkeypatch.setattr(snapshot, "sha256_of", count)
    return counts


def test_a_phase_hashes_each_file_once(plan: Plan, hashed: Counter[Path]) -> None:
    assert [status.due for status in plan.statuses()] == ["done"] * len(MEMBERS) * FOLDS
    assert all(status.is_ready and not status.reason for status in plan.statuses())
    files = {file for job in plan.jobs for file in (job.folder.weights, *job.folder.probabilities)}
    assert hashed == dict.fromkeys(files, 1)


@pytest.mark.slow_but("submit")
@pytest.mark.parametrize("stage", ["train", "ensemble", "submit"])
def test_a_run_with_nothing_to_do_hashes_each_file_once(
    plan: Plan, hashed: Counter[Path], stage: str
) -> None:
    root = plan.run.workspace.root
    for before in ("train", "ensemble", "submit"):
        assert projects.softvote(root, before, "tiny") == 0
    hashed.clear()
    assert projects.softvote(root, stage, "tiny") == 0
    weights = {file for file in hashed if file.name == "weights.safetensors"}
    assert len(weights) == (0 if stage == "submit" else len(plan.jobs))
    assert {file for file, count in hashed.items() if count > 1} == set()


def test_what_starts_from_others_reads_them_once(plan: Plan, hashed: Counter[Path]) -> None:
    """Where weights are gone, whether their source is there is asked by each of two members."""
    for job in plan.jobs:
        if job.source:
            job.folder.weights.unlink()
    ready = {status.job.label: status.is_ready for status in plan.statuses() if not status.is_done}
    assert len(ready) == 3 * FOLDS
    assert {label for label, is_ready in ready.items() if not is_ready} == {
        f"fourth fold {fold}" for fold in range(FOLDS)
    }
    assert max(hashed.values()) == 1


def test_a_status_is_of_its_time_and_a_new_one_sees_what_others_did(plan: Plan) -> None:
    job = plan.jobs[-1]
    job.folder.weights.unlink()
    assert plan.statuses([job])[0].due == "train"
    write_training(job, plan)
    assert plan.statuses([job])[0].due == "train"
    assert plan.reread().statuses([job])[0].is_done and read_status(job).is_done


def test_a_source_with_other_weights_is_noticed(plan: Plan) -> None:
    first = next(job for job in plan.jobs if job.label == "first fold 0")
    write_training(first, plan, "others")
    due = {status.job.label: status.reason for status in plan.statuses() if not status.is_done}
    assert due == dict.fromkeys(["second fold 0", "third fold 0"], "what it starts from was trained again")
