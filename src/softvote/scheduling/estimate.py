"""How long a run will take on this machine, from the pace of its members."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from heapq import heappop, heappush

import numpy as np
import torch

from softvote.compute.autotune import layers, machine_environment
from softvote.compute.device import find_device
from softvote.errors import UserError
from softvote.inference.network import Network
from softvote.progress import note
from softvote.scheduling.job import Job
from softvote.scheduling.job_batch import JobBatch
from softvote.scheduling.resources import assign_devices
from softvote.scheduling.status import read_status
from softvote.scheduling.throughput import Throughput, measure, spawn_seconds
from softvote.storage.cache import JsonObject, disk_cache
from softvote.storage.snapshot import Snapshot

FORECAST_VERSION = 2
"""Bumped whenever paces are measured otherwise or are others, so that none of an older version is taken."""


_OF_THE_DATA = ("data", "image", "classes", "hidden_digits", "addend", "extra_train", "test_data")


_NOT_OF_THE_PACE = {"epochs", "no_aug_epochs", "init_from", "curves"}


@dataclass(frozen=True)
class Forecast:
    """What is due, in seconds.

    Attributes:
        throughputs: of the members that are due and could be tried.
        failed: why a member could not be.
        jobs: seconds of each job of the members that could be tried, in their order.
        at_once: jobs side by side.
        seconds: until all is done; None where a member could not be tried.
    """

    throughputs: dict[str, Throughput]
    failed: dict[str, UserError]
    jobs: list[tuple[Job, float]]
    at_once: int
    seconds: float | None

    def longest(self, member: str) -> float:
        """Seconds that one of a member's jobs takes, prediction with it."""
        return max(seconds for job, seconds in self.jobs if job.member_name == member)


def forecast(
    work: JobBatch, networks: Mapping[str, Network], workers: int | None, files: Snapshot | None = None
) -> Forecast:
    """How long the jobs of a run will take, if the machine stays as busy with other work as it is.

    What was measured is kept, and measured again when something that it depends on is another.

    Args:
        work: with a job at least. One that was begun counts as one that was not.
        networks: of the members, untrained.
        workers: as for `run_local`.
        files: what this phase has read so far; None for the files as they are now.
    """
    start = _launch(work)  # before anything is measured, which would begin with the same
    gpus, threads = assign_devices(work, workers)
    gpus = gpus[: len(work.jobs)]
    if workers == 1:  # jobs run in this process then, which has threads of its own
        threads = min(threads, torch.get_num_threads())
    paces, failed = dict[str, Throughput](), dict[str, UserError]()
    first = {job.member_name: job for job in reversed(work.jobs)}
    for name, job in reversed(first.items()):
        try:
            paces[name] = _pace(job, work, networks[name], gpus, threads)
        except UserError as error:
            failed[name] = error
    test, files = len(work.dataset().test_pixels), files or Snapshot()
    jobs = list[tuple[Job, float]]()
    for job in [job for job in work.jobs if job.member_name in paces]:
        pace, network = paces[job.member_name], networks[job.member_name]
        trains = read_status(job, files).due == "train"
        jobs.append((job, _seconds(job, trains, pace, network, _validating(job, work), test)))
    sources = [
        [place for place, (other, _) in enumerate(jobs) if any(other is source for source in job.sources)]
        for job, _ in jobs
    ]
    whole = None if failed else start + makespan([seconds for _, seconds in jobs], sources, len(gpus))
    return Forecast(paces, failed, jobs, len(gpus), whole)


def _launch(work: JobBatch) -> float:
    environment = machine_environment(find_device()) | {"version": FORECAST_VERSION}
    return float(
        disk_cache(work.workspace.throughputs)(environment, lambda: {"launch": spawn_seconds()})["launch"]
    )


def _pace(job: Job, work: JobBatch, network: Network, gpus: list[int], threads: int) -> Throughput:
    """What was measured before under equal conditions, or is now."""
    conditions = machine_environment(find_device()) | {
        "version": FORECAST_VERSION,
        "threads": threads,
        "gpus": gpus,
        "member": job.member.model_dump(mode="json", exclude=_NOT_OF_THE_PACE),
        "layers": layers(network.model),
        "share": round(1 - _validating(job, work) / len(work.folds), 2),
    }
    conditions |= {name: job.inputs.get(name) for name in _OF_THE_DATA}
    if job.teachers:
        lessons = [
            teacher.member.model_dump(mode="json", exclude=_NOT_OF_THE_PACE) for teacher in job.teachers
        ]
        conditions["teachers"] = lessons

    def find() -> JsonObject:
        note(f"{job.member_name}: trained for some seconds, to see how fast it is here")
        return asdict(measure(job, work, gpus, threads))

    return Throughput(**disk_cache(work.workspace.throughputs)(conditions, find))


def _validating(job: Job, work: JobBatch) -> int:
    return int(np.count_nonzero(work.folds == job.fold))


def _seconds(job: Job, trains: bool, pace: Throughput, network: Network, validating: int, test: int) -> float:
    """Of one job: the start, lessons and training if that is due, then prediction of both kinds of rows."""
    # What a head measures, it measures on each half of the rows that validate for the other; and once, when
    # it was trained, on all of them.
    passes = (3 if trains else 2) if network.head.needs_calibration else 1
    training = pace.teaching + job.member.epochs * pace.epoch if trains else 0.0
    return pace.start + training + (passes * validating + test) / pace.predicted


def makespan(seconds: Sequence[float], sources: Sequence[Collection[int]], at_once: int) -> float:
    """Seconds until jobs are done that begin in their order, each when its sources are done and a place free.

    Args:
        seconds: of each job.
        sources: the positions of the jobs that must be done before each.
        at_once: places.
    """
    waiting, running = list(range(len(seconds))), list[tuple[float, int]]()
    done, now = set[int](), 0.0
    while waiting:
        for job in list(waiting):
            if len(running) < at_once and done.issuperset(sources[job]):
                heappush(running, (now + seconds[job], job))
                waiting.remove(job)
        now, ended = heappop(running)
        done.add(ended)
    return max([now, *(end for end, _ in running)])


def format_duration(seconds: float) -> str:
    """A length of time as people say it: 0.4 s, 23 s, 6 min 10 s, 25 min, 1 h 50 min, 2 days 3 h."""
    if seconds < 9.95:
        return f"{seconds:.2g} s"
    if seconds < 595:
        return _pair(10 * round(seconds / 10) if seconds >= 59.5 else round(seconds), 60, "min", "s")
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return _pair(10 * round(minutes / 10) if minutes >= 180 else minutes, 60, "h", "min")
    return _pair(round(minutes / 60), 24, "days", "h")


def _pair(amount: int, size: int, large: str, small: str) -> str:
    """The amount in two units, without the one there is nothing of."""
    parts = zip(divmod(amount, size), (large, small), strict=True)
    return " ".join(f"{count} {unit}" for count, unit in parts if count)
