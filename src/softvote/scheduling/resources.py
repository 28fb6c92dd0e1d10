"""How trainings share the cores, the memory and the GPUs of this machine."""

from __future__ import annotations

import math

from softvote import machine
from softvote.data.pixels import LARGE
from softvote.errors import UserError
from softvote.scheduling import gpus
from softvote.scheduling.caller import Caller, call_here
from softvote.scheduling.job_batch import JobBatch

_BYTES_PER_JOB = 9 << 28  # bytes, beside its rows; our largest, a ResNet50, takes 1.9 GiB


def split_cores(trainings: int, workers: int | None = None, memory: int = _BYTES_PER_JOB) -> tuple[int, int]:
    """How many jobs at once, which is as many as pay unless `workers` says it, and the threads of each.

    The threads of one process wait for each other in every layer of a small network; jobs do not. The
    threads depend on cores and pipeline alone, never on what else runs, so that results can be repeated.

    Args:
        memory: bytes that a job takes.
    """
    cores = machine.cores()
    if workers is not None:
        return workers, max(1, cores // workers)
    at_once = max(1, min(cores, trainings))
    return max(1, min(at_once, machine.free_memory() // memory)), cores // at_once


def assign_devices(
    work: JobBatch, workers: int | None = None, call: Caller = call_here
) -> tuple[list[int], int]:
    """The GPU of each job that runs at once, 0 throughout where there is none, and the threads of each.

    Jobs share a GPU where they fit, and several GPUs take them in turns; so do as many as `workers` says.

    Args:
        call: calls what needs torch.
    """
    free = call(gpus.free_gpu_memory)
    if work.devices_per_training > 1:
        return _assign_groups(work.devices_per_training, len(free), work.trainings, workers)
    at_once, threads = split_cores(work.trainings, workers, _memory_of_largest(work))
    if free and workers is None:
        need = call(gpus.largest_training_bytes, work, max(free))
        return gpus.assign_gpus(free, need, at_once), threads
    return [place % max(1, len(free)) for place in range(at_once)], threads


def _assign_groups(size: int, there: int, trainings: int, workers: int | None) -> tuple[list[int], int]:
    """The first GPU of each training that several devices do, and the threads of each of their processes.

    Raises:
        UserError: there are not so many.
    """
    cores = machine.cores()
    if size > (there or cores):
        what = f"{size}, and this machine has {there or cores} {'GPUs' if there else 'cores'}"
        raise UserError.at("engine.devices_per_training", what, "name no more")
    at_once = max(1, min((there or cores) // size, trainings, workers or trainings))
    return [place * size for place in range(at_once)], max(1, cores // (at_once * size))


def _memory_of_largest(work: JobBatch) -> int:
    """Bytes that the largest of the jobs takes, about, with the rows it trains on.

    Of many rows a process keeps none: it reads them from a file that all map, or decodes them on the way. The
    data are not looked at here, for reading them may fail, which is then the job's failure alone.
    """
    rows = list[int]()
    for job in work.jobs:
        size = math.prod(job.inputs["image"])
        count = work.rows(job) if len(work.folds) * size <= LARGE else work.extra_rows(job)
        rows.append(count * size)
    return _BYTES_PER_JOB + max(rows, default=0)


def set_worker_device(threads: int, gpu: int) -> None:
    """Let this process compute with so many threads, and on that GPU where there is one."""
    import torch

    torch.set_num_threads(threads)
    if torch.cuda.is_available():
        torch.cuda.set_device(gpu)
