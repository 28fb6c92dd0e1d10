"""What every engine is given and gives back: jobs that are due, and those of them that were left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from softvote.artifacts import Workspace, claimed, forget
from softvote.competition import Competition
from softvote.dataset import Dataset, load_dataset
from softvote.errors import UserError
from softvote.jobs import Job, run_job
from softvote.kept import kept_in

Kind = Literal["busy", "failed"]


@dataclass(frozen=True)
class Work:
    """Jobs that are due, and all that is needed to do them; small enough to be sent to other processes.

    Attributes:
        jobs: what one starts from comes before it.
        trainings: of the whole pipeline, due or not; the share of a job in the machine depends on them
            alone, so that a run that is taken up again computes as the one before.
        folds: int64 (N,), the fold of each training row.
        checkpoint_seconds: between two checkpoints of a training.
    """

    workspace: Workspace
    competition: Competition
    jobs: Sequence[Job]
    trainings: int
    folds: NDArray[np.int64]
    checkpoint_seconds: float

    def dataset(self) -> Dataset:
        """The competition's data, from the cache that reading it left."""
        return load_dataset(self.competition, self.workspace)


@dataclass(frozen=True)
class Left:
    """A job that was not done: another run is busy with it, or it failed; and in words, why."""

    job: Job
    kind: Kind
    why: str


Engine = Callable[[Work], list[Left]]
"""Does what it can and returns what it could not; one job's failure stops no other."""


def attempt(
    job: Job, dataset: Dataset, work: Work, within: AbstractContextManager[None] | None = None
) -> Left | None:
    """Do one job in this process, unless it is done by now; None if it is.

    Args:
        within: entered when the job is claimed and due, for as long as it is done.
    """
    try:
        with claimed(job.folder.lock) as mine:
            if not mine:
                return Left(job, "busy", "another run is busy with it")
            if not job.is_ready():
                return waiting(job)
            if job.state() != "done":
                with within or nullcontext():
                    _run(job, dataset, work)
            forget(job.folder.crash)  # of another run, perhaps
    except UserError as error:
        return Left(job, "failed", str(error))
    except OSError as error:  # what no room below had words for, such as a full disk
        where = f"{error.filename}: " if error.filename else ""
        return Left(job, "failed", f"{job.label}: {where}{error.strerror or error}")
    return None


def waiting(job: Job) -> Left:
    """A job whose source is not there."""
    source = job.source.label if job.source else ""
    return Left(
        job, "busy", f"waits for {source}, which another run is busy with; run the same command again"
    )


def blocked(job: Job) -> Left:
    """A job whose source failed."""
    source = job.source.label if job.source else ""
    return Left(job, "failed", f"{job.label}: starts from {source}, which failed")


def _run(job: Job, dataset: Dataset, work: Work) -> None:
    import torch

    try:
        findings = kept_in(work.workspace.choices)
        run_job(job, dataset, work.folds, work.checkpoint_seconds, findings=findings)
    except torch.OutOfMemoryError:
        raise UserError(
            f"{job.label}: the device's memory is too small; lower members.{job.member_name}.batch_size"
        ) from None
