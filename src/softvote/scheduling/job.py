"""One member on one fold, and what is left to do of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

from softvote.config.recipe import Member
from softvote.data.dataset import Dataset
from softvote.data.extra_rows import ExtraRows
from softvote.ensembling.predictions import is_intact
from softvote.storage.files import read_json
from softvote.storage.fingerprints import fingerprint, sha256_of
from softvote.storage.paths import FoldFolder
from softvote.task import Task

State = Literal["train", "predict", "done"]


_LEFT_OUT = object()  # a key that is not there


REFIT = -1
"""The fold of a training on all rows, which no row is in."""


@dataclass(frozen=True)
class Job:
    """One training of a member, without the rows of one fold.

    Attributes:
        member: its recipe, for this one training: how many others there are is no part of that.
        fold: the one that validates; `REFIT` where none does.
        inputs: everything that decides the weights; what the recipe leaves as it is stays out, so
            that a recipe learns new words without being trained again.
        test_fingerprint: of the test images.
        source: the job whose weights, or whose glyphs, this one starts from.
        extra: reads the rows that are added to its training rows.
        repeat: from 0; the first is the training of a member without repeats.
    """

    member_name: str
    member: Member
    fold: int
    folder: FoldFolder
    inputs: dict[str, Any]
    test_fingerprint: str
    task: Task
    source: Job | None = None
    extra: Callable[[Dataset], ExtraRows] | None = None
    repeat: int = 0

    @property
    def label(self) -> str:
        return f"{self.member_name} {describe_jobs([self])}"

    @property
    def training_fingerprint(self) -> str:
        return fingerprint(self.inputs)

    @property
    def prediction_fingerprint(self) -> str:
        return fingerprint([self.training_fingerprint, self.member.tta.model_dump(), self.test_fingerprint])

    def is_ready(self) -> bool:
        """Whether the training this one starts from is there, or no longer needed."""
        return self.source is None or self.source.state() != "train" or self.state() != "train"

    def state(self) -> State:
        """What is left to do, by what is on disk."""
        if read_json(self.folder.recipe).get("key") != self.training_fingerprint or self._source_is_another():
            return "train"
        predicted = read_json(self.folder.scores).get("key") == self.prediction_fingerprint
        done = predicted and is_intact(self.folder)
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
        changed = sorted(_changed(recipe.get("identity"), self.inputs))
        if changed:
            return "changed: " + "; ".join(changed)
        if self.state() == "train" and self._weights_are_whole():
            return "what it starts from was trained again"
        if self.state() == "train":
            return "its weights are damaged or gone"
        predicted = read_json(self.folder.scores).get("key")
        if predicted and predicted != self.prediction_fingerprint:
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
