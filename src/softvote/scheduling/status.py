"""What is left to do of a job, by what is on disk."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from softvote.ensembling.predictions import has_intact_predictions
from softvote.ensembling.records import ScoreRecord
from softvote.inference.record import TrainingRecord, find_weights_machine
from softvote.scheduling.job import Job
from softvote.storage.fingerprints import fingerprint
from softvote.storage.snapshot import Snapshot

Due = Literal["train", "predict", "done"]
"""What is to be done next: to train and then predict, to predict alone, or nothing."""


_LEFT_OUT = object()  # a key that is not there


@dataclass(frozen=True)
class JobStatus:
    """What is left to do of a job, as its files were when they were read.

    Attributes:
        reason: why it is not done, in words; empty where it is.
        is_ready: whether the trainings it starts from are there, or no longer needed.
    """

    job: Job
    due: Due
    reason: str
    is_ready: bool

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do."""
        return self.due == "done"


def read_status(job: Job, files: Snapshot | None = None) -> JobStatus:
    """Read what is left to do of a job.

    Args:
        files: what this phase has read so far; None for the files as they are now.
    """
    files = files or Snapshot()
    due, reason = _due(job, files)
    ready = due != "train" or all(read_status(source, files).due != "train" for source in job.sources)
    return JobStatus(job, due, reason, ready)


def is_ready(job: Job, files: Snapshot | None = None) -> bool:
    """Whether a job could begin: `JobStatus.is_ready`, without a look at files where it starts from none."""
    return not job.sources or read_status(job, files).is_ready


def source_weights(job: Job, files: Snapshot | None = None) -> str | None:
    """sha256 of the weights that a job starts from, of several a fingerprint; None until all are trained."""
    files = files or Snapshot()
    records = [files.read(TrainingRecord, source.folder.recipe) for source in job.sources]
    found = [record.weights_sha256 for record in records if record and record.weights_sha256]
    if not found or len(found) < len(records):
        return None
    return fingerprint(found) if found[1:] else found[0]


def published_weights_sha256(job: Job, files: Snapshot | None = None) -> str | None:
    """sha256 of the published weights that a job starts from, where it does and they are on this machine."""
    if not job.member.model_args.get("pretrained"):
        return None
    from softvote import models  # which few jobs need for this, and which takes its time

    published = models.published_weights(job.member.model, job.member.model_args, job.weights_folder)
    file = published.find() if published else None
    return (files or Snapshot()).sha256(file) if file else None


def _due(job: Job, files: Snapshot) -> tuple[Due, str]:
    """What is to be done, and why."""
    training = files.read(TrainingRecord, job.folder.recipe)
    if training is None:
        return "train", "new"
    left_on = find_weights_machine(job.folder, training)
    if training.fingerprint == job.training_fingerprint and not _start_is_another(job, training, files):
        weights_are_intact = files.sha256(job.folder.weights) == training.weights_sha256
        if weights_are_intact or left_on:
            reason = _why_predict(job, files)
            if not reason:
                return "done", ""
            if weights_are_intact:
                return "predict", reason
    if left_on:
        return (
            "train",
            f"its weights stayed on {left_on}, and its probabilities are not those that are wanted",
        )
    return "train", _why_train(job, training, files)


def _start_is_another(job: Job, training: TrainingRecord, files: Snapshot) -> str:
    """Why it would start from other weights now, which the recipe does not tell; empty where it would not."""
    now = source_weights(job, files)
    if now is not None and now != training.source_weights_sha256:
        return "what it starts from was trained again"
    then, now = training.published_weights_sha256, published_weights_sha256(job, files)
    if then and now and now != then:
        return f"its published weights were another file, sha256 {then[:8]} -> {now[:8]}"
    return ""


def _why_train(job: Job, training: TrainingRecord, files: Snapshot) -> str:
    changed = sorted(_list_changes(training.inputs, job.inputs))
    if changed:
        return "changed: " + "; ".join(changed)
    return _start_is_another(job, training, files) or "its weights are damaged or gone"


def _why_predict(job: Job, files: Snapshot) -> str:
    """Why a job's probabilities are not those that are wanted; empty where they are."""
    scores = files.read(ScoreRecord, job.folder.scores)
    if scores is None or not scores.fingerprint:
        return "not predicted yet"
    if scores.fingerprint != job.prediction_fingerprint:
        return "test rows or test-time augmentation changed"
    return "" if has_intact_predictions(job.folder, files) else "its probabilities are damaged or gone"


def _list_changes(before: Any, now: Any, name: str = "") -> list[str]:
    """The leaves of two nested mappings that differ, as `key old -> new`."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = before.keys() | now.keys()
        parts = [
            _list_changes(before.get(key, _LEFT_OUT), now.get(key, _LEFT_OUT), f"{name}.{key}".strip("."))
            for key in keys
        ]
        return [leaf for part in parts for leaf in part]
    if before == now:
        return []
    texts = ["default" if value is _LEFT_OUT else json.dumps(value) for value in (before, now)]
    return [f"{name} {' -> '.join(texts)}" if max(map(len, texts)) < 30 else name]
