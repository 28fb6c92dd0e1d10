"""One member on one fold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from softvote.config.recipe import Member
from softvote.data.dataset import Dataset
from softvote.data.extra_rows import ExtraRows
from softvote.data.split import ImageSplit
from softvote.storage.fingerprints import fingerprint
from softvote.storage.paths import FoldFolder
from softvote.task import Task

if TYPE_CHECKING:
    from softvote.training.callbacks import Callback

REFIT = -1
"""The fold of a training on all rows, which no row is in."""


Observer = Callable[["Job", ImageSplit], "Callback"]


@dataclass(frozen=True)
class Job:
    """One training of a member, without the rows of one fold.

    Attributes:
        member: its recipe, for this one training: how many others there are is not part of that.
        fold: the one that validates; `REFIT` where none does.
        inputs: everything that decides the weights; what the recipe leaves as it is stays out, so
            that a recipe learns new words without being trained again.
        test_fingerprint: of the test images.
        source: the job whose weights, or whose glyphs, this one starts from.
        teachers: the jobs whose probabilities this one learns.
        extra: reads the rows that are added to its training rows.
        repeat: from 0; the first is the training of a member without repeats.
        decoding: how values of image files become 0..255, for the record; the images show what it does.
        weights_folder: where files of published weights are looked for before the hub is asked.
        context: what messages call it beside its member and fold, such as "trial 3".
        predicts_test: whether it predicts the test rows too, which nobody needs of a trial.
        observers: make callbacks for its training beside the usual ones, of the job and the rows of its
            fold; they change nothing about the weights, and travel to other processes.
    """

    member_name: str
    member: Member
    fold: int
    folder: FoldFolder
    inputs: dict[str, Any]
    test_fingerprint: str
    task: Task
    source: Job | None = None
    teachers: tuple[Job, ...] = ()
    extra: Callable[[Dataset], ExtraRows] | None = None
    repeat: int = 0
    decoding: Mapping[str, Any] = field(default_factory=dict)
    weights_folder: Path | None = None
    context: str = ""
    predicts_test: bool = True
    observers: Sequence[Observer] = ()

    @property
    def label(self) -> str:
        """What messages call it: `cnn fold 0`."""
        return f"{self.context} {self.member_name} {describe_jobs([self])}".strip()

    @property
    def sources(self) -> list[Job]:
        """The jobs whose trainings must be there before this one begins."""
        return [*([self.source] if self.source else []), *self.teachers]

    def describe_need(self, source: Job) -> str:
        """What it needs one of its sources for: `starts from cnn fold 0`."""
        return f"{'starts' if source is self.source else 'learns'} from {source.label}"

    @property
    def training_fingerprint(self) -> str:
        """Of all that its weights depend on."""
        return fingerprint(self.inputs)

    @property
    def prediction_fingerprint(self) -> str:
        """Of all that its probabilities depend on."""
        # `shift` is older than that defaults are left out.
        views = {"shift": 0} | self.member.tta.model_dump(exclude_defaults=True)
        return fingerprint([self.training_fingerprint, views, self.test_fingerprint])


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
