"""Jobs: one member on one fold, once or repeated, or on all rows. What is due, why, and doing it.

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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from softvote import __version__
from softvote.artifacts import (
    FoldFolder,
    PipelineFolder,
    Workspace,
    forget,
    key_of,
    read_json,
    sha256_of,
    sweep,
    write_json,
    write_text,
    written_whole,
)
from softvote.competition import Task
from softvote.dataset import Dataset
from softvote.ensemble import RULES_VERSION
from softvote.extra import ExtraRows, digest_of, load_extra
from softvote.folds import FoldTable
from softvote.git import git_state
from softvote.glyphs import GLYPHS_VERSION, glyphs_of
from softvote.kept import Findings, remembered
from softvote.pipeline import Pipeline
from softvote.predictions import Predictions, are_whole, write_predictions
from softvote.recipe import Member
from softvote.seeds import training_seed

if TYPE_CHECKING:
    from softvote.checkpoint import Checkpoints
    from softvote.training import Trained, TrainingRows

State = Literal["train", "predict", "done"]

_LEFT_OUT = object()  # a key that is not there

CHECKPOINT_SECONDS = 60.0
"""Between two checkpoints of a training, unless told otherwise; so much is repeated at most."""

CHECKPOINT_VERSION = 2
"""Raised whenever checkpoints hold other things, so that none of an older version is gone on from."""

TRAINING_VERSION = 1
"""Raised whenever the same recipe trains to other weights, as when a default of the recipe changes."""


REFIT = -1
"""The fold of a training on all rows, which no row is in."""


@dataclass(frozen=True)
class Job:
    """One training of a member, without the rows of one fold.

    Attributes:
        member: its recipe, for this one training: how many others there are is no part of that.
        fold: the one that validates; `REFIT` where none does.
        identity: everything that decides the weights; what the recipe leaves as it is stays out, so
            that a recipe learns new words without being trained again.
        test_digest: of the test images.
        source: the job whose weights, or whose glyphs, this one starts from.
        extra: reads the rows that are added to its training rows.
        repeat: from 0; the first is the training of a member without repeats.
    """

    member_name: str
    member: Member
    fold: int
    folder: FoldFolder
    identity: dict[str, Any]
    test_digest: str
    task: Task
    source: Job | None = None
    extra: Callable[[Dataset], ExtraRows] | None = None
    repeat: int = 0

    @property
    def label(self) -> str:
        return f"{self.member_name} {describe_jobs([self])}"

    @property
    def training_key(self) -> str:
        return key_of(self.identity)

    @property
    def prediction_key(self) -> str:
        return key_of([self.training_key, self.member.tta.model_dump(), self.test_digest])

    def is_ready(self) -> bool:
        """Whether the training this one starts from is there, or no longer needed."""
        return self.source is None or self.source.state() != "train" or self.state() != "train"

    def state(self) -> State:
        """What is left to do, by what is on disk."""
        if read_json(self.folder.recipe).get("key") != self.training_key or self._source_is_another():
            return "train"
        predicted = read_json(self.folder.scores).get("key") == self.prediction_key
        done = predicted and are_whole(self.folder)
        if self._weights_are_whole():
            return "done" if done else "predict"
        return "done" if done and self.folder.weights_left_on() else "train"

    def _weights_are_whole(self) -> bool:
        weights, recorded = self.folder.weights, read_json(self.folder.recipe).get("weights_sha256")
        return weights.is_file() and sha256_of(weights) == recorded

    def source_weights(self) -> str | None:
        """sha256 of the weights this one starts from, where it starts from any and they are there."""
        return read_json(self.source.folder.recipe).get("weights_sha256") if self.source else None

    def _source_is_another(self) -> bool:
        """Whether the source was trained again since, perhaps by the same recipe to other weights."""
        now = self.source_weights()
        return now is not None and now != read_json(self.folder.recipe).get("source_weights_sha256")

    def reason(self) -> str:
        """Why the job is not done, in words."""
        recipe = read_json(self.folder.recipe)
        if not recipe:
            return "new"
        if place := self.folder.weights_left_on():
            return f"its weights stayed on {place}, and its probabilities are not those that are wanted"
        changed = sorted(_changed(recipe.get("identity"), self.identity))
        if changed:
            return "changed: " + "; ".join(changed)
        if self.state() == "train" and self._weights_are_whole():
            return "what it starts from was trained again"
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
        parts = [
            _changed(before.get(key, _LEFT_OUT), now.get(key, _LEFT_OUT), f"{name}.{key}".strip("."))
            for key in keys
        ]
        return [leaf for part in parts for leaf in part]
    if before == now:
        return []
    texts = ["default" if value is _LEFT_OUT else json.dumps(value) for value in (before, now)]
    return [f"{name} {' -> '.join(texts)}" if max(map(len, texts)) < 30 else name]


def describe_jobs(jobs: Sequence[Job]) -> str:
    """Which trainings of a member: `fold 0, 1; fold 0, 1 repeat 1; refit`."""
    of_folds = sorted((job for job in jobs if job.fold != REFIT), key=_by_repeat)
    parts = [
        f"fold {', '.join(str(job.fold) for job in each)}{f' repeat {repeat}' if repeat else ''}"
        for repeat, each in groupby(of_folds, key=lambda job: job.repeat)
    ]
    return "; ".join(parts + (["refit"] if len(of_folds) < len(jobs) else []))


def _by_repeat(job: Job) -> tuple[int, int]:
    return job.repeat, job.fold


def plan(
    pipeline: Pipeline, workspace: Workspace, folder: PipelineFolder, dataset: Dataset, table: FoldTable
) -> list[Job]:
    """Every job of a pipeline: fold by fold, so that whole folds are there early; repeats; those on all rows.

    Raises:
        UserError: extra rows that are missing.
    """
    planner = _Planner(pipeline, workspace, folder, dataset, table)
    members = pipeline.members.items()
    of_folds = [
        planner.job(name, fold, repeat)
        for repeat in range(max(member.repeats for _, member in members))
        for fold in pipeline.folds.trained
        for name, member in members
        if repeat < member.repeats
    ]
    return of_folds + [planner.job(name, REFIT) for name, member in members if member.refit]


class _Planner:
    """Makes each job once, after the one it starts from."""

    def __init__(
        self,
        pipeline: Pipeline,
        workspace: Workspace,
        folder: PipelineFolder,
        dataset: Dataset,
        table: FoldTable,
    ) -> None:
        self.pipeline, self.workspace, self.folder, self.dataset = pipeline, workspace, folder, dataset
        self.task = pipeline.competition.task
        self.shared: dict[str, Any] = {
            "training_version": TRAINING_VERSION,
            "folds": table.key,
            "data": dataset.train_digest,
            "classes": pipeline.competition.classes,
            "hidden_digits": self.task.hidden_digits,
            "addend": self.task.addend,
            "image": list(dataset.train_pixels.shape[1:]),
            "pipeline_seed": pipeline.seed,
        }
        self.jobs = dict[tuple[str, int, int], Job]()
        self.extra_digests = dict[str, str]()

    def job(self, name: str, fold: int, repeat: int = 0) -> Job:
        """A job of a member on a fold, or on all rows."""
        if (name, fold, repeat) not in self.jobs:
            member = self.pipeline.members[name].model_copy(update={"repeats": 1, "refit": False})
            source = self._source(member.source, fold, repeat) if member.source else None
            identity = self._identity(name, member, fold, repeat, source)
            voter, digest = self.folder.voter(name), self.dataset.test_digest
            folder = voter.refit if fold == REFIT else voter.fold(fold, repeat)
            extra = None
            if member.extra_train:
                extra = functools.partial(
                    load_extra, member.extra_train, self.workspace, self.pipeline.competition
                )
            self.jobs[name, fold, repeat] = Job(
                name, member, fold, folder, identity, digest, self.task, source, extra, repeat
            )
        return self.jobs[name, fold, repeat]

    def _source(self, name: str, fold: int, repeat: int) -> Job:
        """The same repeat of another member, or its first where it has not so many."""
        return self.job(name, fold, repeat if repeat < self.pipeline.members[name].repeats else 0)

    def _identity(
        self, name: str, member: Member, fold: int, repeat: int, source: Job | None
    ) -> dict[str, Any]:
        recipe = member.model_dump(mode="json", exclude={"tta"}, exclude_defaults=True)
        identity = {"member": recipe, "name": name, "fold": fold} | self.shared
        if repeat:
            identity["repeat"] = repeat
        if (weights := member.weights_file) and weights.is_file():
            identity["weights"] = sha256_of(weights)
        if source and member.init_from:
            identity["init_from"] = source.training_key
        elif source:
            identity["glyphs_from"] = key_of([GLYPHS_VERSION, source.training_key])
        if member.extra_train:
            files = member.extra_train.model_dump_json()
            if files not in self.extra_digests:
                self.extra_digests[files] = digest_of(member.extra_train, self.workspace)
            identity["extra_train"] = self.extra_digests[files]
        return identity


def voter_key(pipeline: Pipeline, jobs: Sequence[Job], name: str) -> str:
    """What a member's or the ensemble's predictions depend on, all of it, in one key.

    The content of the folds' predictions is part of it, so a fold that was trained again counts as new
    even where its recipe is the same.
    """
    if name in pipeline.members:
        parts = [job for job in jobs if job.member_name == name]
        return key_of([[job.prediction_key, read_json(job.folder.scores).get("content")] for job in parts])
    voters = [[voter, voter_key(pipeline, jobs, voter)] for voter in pipeline.voters]
    shares = pipeline.vote_shares()
    return key_of([RULES_VERSION, pipeline.ensemble.rule, voters, *([shares] if shares else [])])


def run_job(
    job: Job,
    dataset: Dataset,
    folds: NDArray[np.int64],
    seconds: float = CHECKPOINT_SECONDS,
    keep: Callable[[bytes], None] | None = None,
    findings: Findings = remembered,
) -> None:
    """Train the job if that is due, then predict; each leaves its files whole before the next begins.

    Args:
        seconds: between two checkpoints of a training.
        keep: given the content of each.
        findings: keeps what was found fastest on this machine; left out, this process does.
    """
    sweep(job.folder.path)
    if job.state() == "train":
        _train(job, dataset, folds, seconds, keep, findings)
    _predict(job, dataset, folds)


def _train(
    job: Job,
    dataset: Dataset,
    folds: NDArray[np.int64],
    seconds: float,
    keep: Callable[[bytes], None] | None,
    findings: Findings,
) -> None:
    from safetensors.torch import save

    from softvote.inference import Predictor, load_weights
    from softvote.training import train

    data = training_rows(job, dataset, folds)
    if job.source and job.member.glyphs_from:
        data = replace(data, glyphs=glyphs_of(job.source.folder, dataset, folds == job.fold))
    seed = training_seed(job.identity["pipeline_seed"], job.member_name, job.fold, job.repeat)
    source = job.source_weights()  # before they are read: if others come meanwhile, this one is due again
    start = load_weights(job.source.folder) if job.source and job.member.init_from else None
    checkpoints = _checkpoints(job, source, seconds, keep)
    started = time.perf_counter()
    trained = train(job.member, data, job.task, seed, job.label, start, checkpoints, findings)
    # Epochs that a process which is gone has fed are in the log, not in this one's time.
    spent = max(time.perf_counter() - started, sum(epoch["seconds"] for epoch in trained.log))
    predictor = Predictor(trained.network, trained.normalisation, trained.execution, view=job.member.view)
    if trained.network.head.measures:
        predictor = predictor.fitted(*_rows_of_fold(job, dataset, folds))
    for stale in (job.folder.scores, job.folder.recipe):
        forget(stale)
    # Cloned, because tied weights share memory and the format refuses that.
    state = trained.network.model.state_dict()
    weights = {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}
    with written_whole(job.folder.weights) as temporary:
        temporary.write_bytes(save(weights))
    write_text(job.folder.log, _log_csv(trained.log))
    write_json(job.folder.recipe, _recipe(job, trained, predictor.network.head.facts(), seed, spent, source))
    checkpoints.remove()


def _checkpoints(
    job: Job, source_weights: str | None, seconds: float, keep: Callable[[bytes], None] | None
) -> Checkpoints:
    import torch

    from softvote.checkpoint import Checkpoints
    from softvote.execution import find_device

    device = find_device()
    key = key_of([job.training_key, source_weights, CHECKPOINT_VERSION, device])
    threads = torch.get_num_threads() if device == "cpu" else None  # elsewhere bits do not depend on them
    return Checkpoints(job.folder.checkpoint, key, seconds, keep, threads)


def training_rows(job: Job, dataset: Dataset, folds: NDArray[np.int64]) -> TrainingRows:
    """The rows of the training folds, and the extra ones after them."""
    import torch

    from softvote.training import TrainingRows

    rows = np.flatnonzero(folds != job.fold)
    extra = job.extra(dataset) if job.extra else None
    if extra is None:
        return TrainingRows(
            torch.from_numpy(dataset.train_pixels[rows]), torch.from_numpy(dataset.train_values[rows]), rows
        )
    if job.member.extra_train and job.member.extra_train.alone:
        rows = rows[:0]
    more = np.arange(len(extra.values)) + len(folds)
    unknown = np.full((len(rows), job.task.hidden_digits or 0), -1)
    digits = None if extra.digits is None else np.concatenate([unknown, extra.digits])
    return TrainingRows(
        torch.from_numpy(np.concatenate([dataset.train_pixels[rows], extra.images])),
        torch.from_numpy(np.concatenate([dataset.train_values[rows], extra.values])),
        np.concatenate([rows, more]),
        None if digits is None else torch.from_numpy(digits),
    )


def _rows_of_fold(
    job: Job, dataset: Dataset, folds: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], NDArray[np.int64] | None, NDArray[np.int64]]:
    """Pixels, addends and labels of the rows that validate."""
    rows = np.flatnonzero(folds == job.fold)
    addends = None if dataset.train_addends is None else dataset.train_addends[rows]
    return dataset.train_pixels[rows], addends, dataset.train_labels[rows]


def _recipe(
    job: Job, trained: Trained, head: dict[str, float], seed: int, seconds: float, source_weights: str | None
) -> dict[str, Any]:
    """All that prediction needs, and all that the next reader wants to know."""
    import torch

    from softvote.execution import accelerator_name

    return {
        "key": job.training_key,
        "member": job.member.model_dump(mode="json"),
        "classes": job.identity["classes"],
        "hidden_digits": job.task.hidden_digits,
        "addend": job.task.addend,
        "image": job.identity["image"],
        "mean": trained.normalisation.mean,
        "std": trained.normalisation.std,
        "head": head,
        "execution": trained.execution.facts(),
        "device": accelerator_name(trained.execution.device),
        "seed": seed,
        "images_an_epoch": trained.images_an_epoch,
        "seconds": round(seconds, 2),
        "threads": torch.get_num_threads(),
        "peak_memory_mib": _peak_memory_mib(),
        "versions": {"softvote": __version__, "torch": str(torch.__version__), "commit": _commit()},
        "weights_sha256": sha256_of(job.folder.weights),
        "source_weights_sha256": source_weights,
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

    recipe, member = read_json(job.folder.recipe), job.member.model_dump(mode="json")
    if recipe["member"] != member:  # test-time shifts are no part of the training, but of what predicts
        forget(job.folder.scores)  # first, so that what is stored is never of another recipe
        write_json(job.folder.recipe, recipe | {"member": member})
    rows = np.flatnonzero(folds == job.fold)
    predictor = load_predictor(job.folder)
    predictions = Predictions(
        rows,
        predictor.out_of_fold(*_rows_of_fold(job, dataset, folds)),
        predictor.probabilities(dataset.test_pixels, dataset.test_addends),
    )
    write_predictions(job.folder, predictions, dataset.train_labels, job.task, {"key": job.prediction_key})
