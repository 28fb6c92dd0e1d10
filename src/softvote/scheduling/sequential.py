"""Jobs one after the other in this process."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

from softvote.data.dataset import Dataset
from softvote.scheduling.engine import TimeLeft, Unfinished, as_late, find_blocked, run_locked
from softvote.scheduling.job import Job
from softvote.scheduling.job_batch import JobBatch
from softvote.scheduling.resources import assign_devices, set_worker_device, split_cores


def run_sequential(work: JobBatch) -> list[Unfinished]:
    """Take whatever is due and no other process has claimed.

    Two commands started side by side therefore share the work of one pipeline without treading on each
    other, and one that was killed leaves nothing claimed.
    """
    _heed_quota(work)
    data, jobs, failed = functools.cache(work.dataset), list(work.jobs), list[Unfinished]()
    left_over = TimeLeft(work.deadline)
    while jobs:
        left = list[Unfinished]()
        for job in jobs:
            began, found = time.monotonic(), find_blocked(job, failed)
            if found is None:
                found = _run_alone(job, work, data) if left_over.is_enough(job) else as_late(job)
            if found:
                (failed if found.kind == "failed" else left).append(found)
            else:
                left_over.note(job, time.monotonic() - began)
        if len(left) == len(jobs):  # nothing was free to take, so only waiting would be left
            return failed + left
        jobs = [each.job for each in left]
    return failed


def _run_alone(job: Job, work: JobBatch, data: Callable[[], Dataset]) -> Unfinished | None:
    """Do one job, if nobody else does, and leave nothing of it on the device for the next."""
    from softvote.compute.device import find_device, release_memory

    found = run_locked(job, work, data)
    release_memory(find_device())
    return found


def _heed_quota(work: JobBatch) -> None:
    """Compute with no more threads than there are cores; torch knows nothing of a container's quota."""
    import torch

    if work.devices_per_training > 1:
        set_worker_device(assign_devices(work, workers=1)[1], gpu=0)
        return
    threads = split_cores(work.trainings, workers=1)[1]
    if threads < torch.get_num_threads():
        torch.set_num_threads(threads)
