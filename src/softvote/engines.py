"""Where jobs run. This process takes whatever is due and no other process has claimed.

Two commands started side by side therefore share the work of one pipeline without treading on each
other, and one that was killed leaves nothing claimed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from softvote.artifacts import claimed
from softvote.dataset import Dataset
from softvote.errors import UserError
from softvote.jobs import Job, run_job


def run_here(jobs: Sequence[Job], dataset: Dataset, folds: NDArray[np.int64]) -> list[Job]:
    """Run the jobs one after the other in this process.

    Returns:
        the jobs that another process was busy with.
    """
    left = list(jobs)
    while left:
        busy = [job for job in left if not _done_here(job, dataset, folds)]
        if len(busy) == len(left):  # nothing was free to take, so only waiting would be left
            return busy
        left = busy
    return []


def _done_here(job: Job, dataset: Dataset, folds: NDArray[np.int64]) -> bool:
    """Do a job unless it is done; False where another process is busy with it or with what it starts from."""
    with claimed(job.folder.lock) as mine:
        if not mine or not job.is_ready():
            return False
        if job.state() != "done":
            _run(job, dataset, folds)
        return True


def _run(job: Job, dataset: Dataset, folds: NDArray[np.int64]) -> None:
    import torch

    try:
        run_job(job, dataset, folds)
    except torch.OutOfMemoryError:
        raise UserError(
            f"{job.label}: the device's memory is too small; lower members.{job.member_name}.batch_size"
        ) from None
