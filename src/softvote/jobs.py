"""Jobs: one member on one fold. What is due, why, and doing it.

A training is identified by everything that decides its weights, a prediction by the training and
what is predicted; a job whose identity is the one on disk is done. So a changed recipe retrains the
folds of that member alone, and changed test images are only predicted again.
"""

from __future__ import annotations

import functools
import json
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from softvote import __version__
from softvote.artifacts import (
    FoldFolder,
    PipelineFolder,
    forget,
    key_of,
    read_json,
    sha256_of,
    write_json,
    write_text,
    written_whole,
)
from softvote.dataset import Dataset
from softvote.folds import FoldTable
from softvote.git import git_state
from softvote.pipeline import Pipeline
from softvote.predictions import Predictions, are_whole, write_predictions
from softvote.recipe import Member
from softvote.seeds import training_seed

if TYPE_CHECKING:
    from softvote.training import Trained

State = Literal["train", "predict", "done"]

TRAINING_VERSION = 1
"""Raised whenever the same recipe trains to other weights; trainings of another version are done again."""


@dataclass(frozen=True)
class Job:
    """One member on one fold.

    Attributes:
        identity: everything that decides the weights.
        test_digest: of the test images.
    """

    member_name: str
    member: Member
    fold: int
    folder: FoldFolder
    identity: dict[str, Any]
    test_digest: str

    @property
    def label(self) -> str:
        return f"{self.member_name} fold {self.fold}"

    @property
    def training_key(self) -> str:
        return key_of(self.identity)

    @property
    def prediction_key(self) -> str:
        return key_of([self.training_key, self.member.tta.model_dump(), self.test_digest])

    def state(self) -> State:
        """What is left to do, by what is on disk."""
        if read_json(self.folder.recipe).get("key") != self.training_key or not self._weights_are_whole():
            return "train"
        predicted = read_json(self.folder.scores).get("key") == self.prediction_key
        return "done" if predicted and are_whole(self.folder) else "predict"

    def _weights_are_whole(self) -> bool:
        weights, recorded = self.folder.weights, read_json(self.folder.recipe).get("weights_sha256")
        return weights.is_file() and sha256_of(weights) == recorded

    def reason(self) -> str:
        """Why the job is not done, in words."""
        recipe = read_json(self.folder.recipe)
        if not recipe:
            return "new"
        changed = sorted(_changed(recipe.get("identity"), self.identity))
        if changed:
            return "changed: " + "; ".join(changed)
        if self.state() == "train":
            return "its weights are damaged or gone"
        predicted = read_json(self.folder.scores).get("key")
        if predicted and predicted != self.prediction_key:
            return "test rows or test-time augmentation changed"
        return "its probabilities are damaged or gone" if predicted else "not predicted yet"


def _changed(before: Any, now: Any, name: str = "") -> list[str]:
    """The leaves of two nested mappings that differ, as `key old -> new`."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = before.keys() | now.keys()
        parts = [_changed(before.get(key), now.get(key), f"{name}.{key}".strip(".")) for key in keys]
        return [leaf for part in parts for leaf in part]
    if before == now:
        return []
    texts = [json.dumps(value) for value in (before, now)]
    return [f"{name} {' -> '.join(texts)}" if max(map(len, texts)) < 30 else name]


def plan(pipeline: Pipeline, folder: PipelineFolder, dataset: Dataset, table: FoldTable) -> list[Job]:
    """Every job of a pipeline, fold by fold, so that whole folds are there early."""
    shared = {
        "training_version": TRAINING_VERSION,
        "folds": table.key,
        "data": dataset.train_digest,
        "classes": pipeline.competition.classes,
        "image": list(dataset.train_pixels.shape[1:]),
        "pipeline_seed": pipeline.seed,
    }
    return [
        Job(
            name, member, fold, folder.voter(name).fold(fold),
            {"member": member.model_dump(mode="json", exclude={"tta"}), "name": name, "fold": fold} | shared,
            dataset.test_digest,
        )
        for fold in pipeline.folds.trained
        for name, member in pipeline.members.items()
    ]  # fmt: skip


def voter_key(pipeline: Pipeline, jobs: Sequence[Job], name: str) -> str:
    """What a member's or the ensemble's predictions depend on, all of it, in one key.

    The content of the folds' predictions is part of it, so a fold that was trained again counts as new
    even where its recipe is the same.
    """
    if name in pipeline.members:
        parts = [job for job in jobs if job.member_name == name]
        return key_of([[job.prediction_key, read_json(job.folder.scores).get("content")] for job in parts])
    voters = [[voter, voter_key(pipeline, jobs, voter)] for voter in pipeline.voters]
    return key_of([pipeline.ensemble.rule, voters])


def run_job(job: Job, dataset: Dataset, folds: NDArray[np.int64]) -> None:
    """Train the job if that is due, then predict; each leaves its files whole before the next begins."""
    if job.state() == "train":
        _train(job, dataset, folds)
    _predict(job, dataset, folds)


def _train(job: Job, dataset: Dataset, folds: NDArray[np.int64]) -> None:
    import torch
    from safetensors.torch import save_file

    from softvote.training import TrainingRows, train

    rows = np.flatnonzero(folds != job.fold)
    data = TrainingRows(
        torch.from_numpy(dataset.train_pixels[rows]), torch.from_numpy(dataset.train_labels[rows]), rows
    )
    seed = training_seed(job.identity["pipeline_seed"], job.member_name, job.fold)
    started = time.perf_counter()
    trained = train(job.member, data, len(job.identity["classes"]), seed, job.label)
    seconds = time.perf_counter() - started
    for stale in (job.folder.scores, job.folder.recipe):
        forget(stale)
    # Cloned, because tied weights share memory and the format refuses that.
    state = trained.model.state_dict()
    weights = {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}
    with written_whole(job.folder.weights) as temporary:
        save_file(weights, temporary)
    write_text(job.folder.log, _log_csv(trained.log))
    write_json(job.folder.recipe, _recipe(job, trained, seed, seconds))


def _recipe(job: Job, trained: Trained, seed: int, seconds: float) -> dict[str, Any]:
    """All that prediction needs, and all that the next reader wants to know."""
    import torch

    return {
        "key": job.training_key,
        "member": job.member.model_dump(mode="json"),
        "classes": job.identity["classes"],
        "image": job.identity["image"],
        "mean": trained.normalisation.mean,
        "std": trained.normalisation.std,
        "execution": trained.execution.facts(),
        "seed": seed,
        "images_an_epoch": trained.images_an_epoch,
        "seconds": round(seconds, 2),
        "threads": torch.get_num_threads(),
        "peak_memory_mib": _peak_memory_mib(),
        "versions": {"softvote": __version__, "torch": str(torch.__version__), "commit": _commit()},
        "weights_sha256": sha256_of(job.folder.weights),
        "identity": job.identity,
    }


@functools.cache
def _commit() -> str:
    """The commit of the work tree the command runs in, marked where it has changes."""
    name, clean = git_state(Path())
    return name if clean or not name else f"{name}, changed"


def _peak_memory_mib() -> int:
    """The most memory this process has held so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (1 << 20 if sys.platform == "darwin" else 1 << 10)


def _log_csv(log: list[dict[str, Any]]) -> str:
    lines = [",".join(log[0])]
    lines += [",".join(f"{v:.6g}" if isinstance(v, float) else str(v) for v in row.values()) for row in log]
    return "\n".join(lines) + "\n"


def _predict(job: Job, dataset: Dataset, folds: NDArray[np.int64]) -> None:
    from softvote.inference import load_predictor

    rows = np.flatnonzero(folds == job.fold)
    predictor = load_predictor(job.folder, job.member.tta.shift)
    predictions = Predictions(
        rows,
        predictor.probabilities(dataset.train_pixels[rows]),
        predictor.probabilities(dataset.test_pixels),
    )
    write_predictions(job.folder, predictions, dataset.train_labels, {"key": job.prediction_key})
