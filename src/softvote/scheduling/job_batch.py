"""What an engine is given: jobs that are due, and all that is needed to do them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from softvote.config.competition import Competition
from softvote.data.dataset import Dataset, read_dataset
from softvote.data.readers.npy import load_array
from softvote.errors import ErrorCollector
from softvote.scheduling.job import Job
from softvote.storage.paths import Workspace


@dataclass(frozen=True)
class JobBatch:
    """Jobs that are due, and all that is needed to do them; small enough to be sent to other processes.

    Attributes:
        jobs: what one starts from comes before it.
        trainings: of the whole pipeline, due or not; the share of a job in the machine depends on them
            alone, so that a run that is taken up again computes as the one before.
        folds: int64 (N,), the fold of each training row.
        checkpoint_seconds: between two checkpoints of a training.
        deadline: of time.monotonic(); a job that cannot end before it is not begun.
        devices_per_training: processes that train one network together.
    """

    workspace: Workspace
    competition: Competition
    jobs: Sequence[Job]
    trainings: int
    folds: NDArray[np.int64]
    checkpoint_seconds: float
    deadline: float = math.inf
    devices_per_training: int = 1

    def dataset(self) -> Dataset:
        """The competition's data, from the cache that reading it left."""
        return read_dataset(self.competition, self.workspace)

    def rows(self, job: Job) -> int:
        """How many rows a job's training learns from; extra ones count unless their file is damaged."""
        extra = job.member.extra_train
        own = 0 if extra and extra.only else np.count_nonzero(self.folds != job.fold)
        test = len(self.dataset().test_pixels) if job.member.learns_test_rows else 0
        return int(own) + self.extra_rows(job) + test

    def extra_rows(self, job: Job) -> int:
        """How many of these are extra ones, whose images a process reads into its memory."""
        extra = job.member.extra_train
        labels = load_array(self.workspace.inputs / extra.labels, ErrorCollector()) if extra else None
        return 0 if labels is None or labels.ndim == 0 else len(labels)
