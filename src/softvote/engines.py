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
from softvote.jobs import Job, run_job


def run_here(jobs: Sequence[Job], dataset: Dataset, folds: NDArray[np.int64]) -> list[Job]:
    """Run the jobs one after the other in this process.

    Returns:
        the jobs that another process was busy with.
    """
    busy = []
    for job in jobs:
        if job.state() == "done":  # another process may have come first
            continue
        with claimed(job.folder.lock) as mine:
            if not mine:
                busy.append(job)
            elif job.state() != "done":
                run_job(job, dataset, folds)
    return busy
