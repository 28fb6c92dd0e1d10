"""How long a run will take on this machine, from how fast its members train."""

from __future__ import annotations

import functools
import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from heapq import heappop, heappush

import numpy as np
import torch

from softvote.compute.autotune import layers, machine_environment
from softvote.compute.device import find_device
from softvote.config.recipe import Member
from softvote.data.file_images import FileImages
from softvote.errors import UserError
from softvote.inference.network import Network
from softvote.models import without_published_weights
from softvote.progress import note
from softvote.scheduling.job import Job
from softvote.scheduling.job_batch import JobBatch
from softvote.scheduling.resources import assign_devices
from softvote.scheduling.status import read_status
from softvote.scheduling.throughput import Throughput, measure, spawn_seconds
from softvote.storage.cache import JsonObject, disk_cache, get_cached
from softvote.storage.fingerprints import fingerprint
from softvote.storage.snapshot import Snapshot

FORECAST_VERSION = 4
"""Bumped whenever throughput is measured otherwise, so that none of an older version is taken."""


_OF_THE_DATA = ("image", "classes", "hidden_digits", "addend", "extra_train")


_WITHOUT_EFFECT_ON_SPEED = {"epochs", "no_aug_epochs", "init_from", "curves", "decay_norms"}


_LITTLE = {
    "augment", "mixup", "cutmix", "ema", "clip_grad", "layer_decay", "label_smoothing", "class_weights",
    "loss", "normalise", "sampling",
}  # fmt: skip
"""Keys of a recipe that take little time beside a slow network."""


_VALUES_PER_SECOND = 5e6
"""Of images, below which a network is slow: a batched augmentation treats more than ten times as many."""


_ON_OR_OFF = {"label_smoothing", "mixup", "cutmix", "ema", "clip_grad", "class_weights", "glyphs_from"}
"""Keys of a recipe that cost time by whether something is done, not by how much of it."""


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
    start = _start_seconds(work)  # before anything is measured, which would begin with the same
    gpus, threads = assign_devices(work, workers)
    gpus = gpus[: len(work.jobs)]
    if workers == 1:  # jobs run in this process then, which has threads of its own
        threads = min(threads, torch.get_num_threads())
    throughputs, failed = _measure_throughputs(work, networks, gpus, threads)
    test, files = len(work.dataset().test_pixels), files or Snapshot()
    jobs = list[tuple[Job, float]]()
    for job in [job for job in work.jobs if job.member_name in throughputs]:
        throughput, network = throughputs[job.member_name], networks[job.member_name]
        trains = read_status(job, files).due == "train"
        jobs.append((job, _seconds(job, trains, throughput, network, _validating(job, work), test)))
    sources = [
        [place for place, (other, _) in enumerate(jobs) if any(other is source for source in job.sources)]
        for job, _ in jobs
    ]
    whole = None if failed else start + makespan([seconds for _, seconds in jobs], sources, len(gpus))
    return Forecast(throughputs, failed, jobs, len(gpus), whole)


def _start_seconds(work: JobBatch) -> float:
    environment = machine_environment(find_device()) | {"version": FORECAST_VERSION}
    return float(
        disk_cache(work.workspace.throughputs)(environment, lambda: {"launch": spawn_seconds()})["launch"]
    )


def _measure_throughputs(
    work: JobBatch, networks: Mapping[str, Network], gpus: list[int], threads: int
) -> tuple[dict[str, Throughput], dict[str, UserError]]:
    """Of each member what was measured under equal conditions, or is now; and why some cannot be."""
    folder, first = work.workspace.throughputs, {job.member_name: job for job in reversed(work.jobs)}
    conditions = {
        name: _conditions(job, work, networks[name], gpus, threads) for name, job in reversed(first.items())
    }
    known = {name: found for name, of in conditions.items() if (found := get_cached(folder, of))}
    throughputs, failed = {name: Throughput(**found) for name, found in known.items()}, dict[str, UserError]()
    alike = {_network_and_batch(conditions[name]): name for name in reversed(throughputs)}
    unknown = {fingerprint(of) for name, of in conditions.items() if name not in throughputs}
    tried, taken = list[str](), defaultdict[str, list[str]](list)

    def find(name: str) -> JsonObject:
        tried.append(name)
        which = f" ({len(tried)} of at most {len(unknown)})" if len(unknown) > 1 else ""
        note(f"{name}{which}: trained for some seconds, to see how fast it is here")
        return asdict(measure(first[name], work, gpus, threads))

    for name, of in conditions.items():
        other = alike.setdefault(_network_and_batch(of), name)
        if name not in throughputs and other in throughputs and _is_slow(throughputs[other], first[other]):
            throughputs[name] = throughputs[other]
            taken[other] += [name]
            continue
        try:
            throughputs[name] = Throughput(**disk_cache(folder)(of, functools.partial(find, name)))
        except UserError as error:
            failed[name] = error
    for other, names in taken.items():
        note(f"{', '.join(names)}: taken to be as fast as {other}, whose network and batches are the same")
    return {name: throughputs[name] for name in conditions if name in throughputs}, failed


def _network_and_batch(conditions: JsonObject) -> str:
    """A key of what decides how fast a slow network is; what processes do to images is part of it."""
    recipe = conditions["member"]
    augment = recipe["augment"] or {}
    by_processes = augment.get("albumentations") or augment.get("engine") == "albumentations"
    left_out = _LITTLE - {"augment"} if by_processes else _LITTLE
    core = {key: value for key, value in recipe.items() if key not in left_out}
    return fingerprint(conditions | {"member": core})


def _is_slow(throughput: Throughput, job: Job) -> bool:
    """Whether the network takes so long for each value of an image that all else is little beside it."""
    return bool(throughput.trained * math.prod(job.inputs["image"]) < _VALUES_PER_SECOND)


def _conditions(job: Job, work: JobBatch, network: Network, gpus: list[int], threads: int) -> JsonObject:
    """All that decides how fast a job is; members of equal conditions are measured once."""
    dataset = work.dataset()
    conditions = machine_environment(find_device()) | {
        "version": FORECAST_VERSION,
        "threads": threads,
        "gpus": gpus,
        "member": _recipe_for_speed(job.member),
        "layers": layers(network.model),
        "share": round(1 - _validating(job, work) / len(work.folds), 2),
        "rows": [len(work.folds), len(dataset.test_pixels)],
    }
    if isinstance(dataset.train_pixels, FileImages):  # which are decoded on the way, and cost what they cost
        conditions["data"] = job.inputs["data"]
    if job.teachers:
        conditions["teachers"] = [_recipe_for_speed(teacher.member) for teacher in job.teachers]
    return conditions | {name: job.inputs.get(name) for name in _OF_THE_DATA}


def _recipe_for_speed(member: Member) -> JsonObject:
    """What of a recipe makes steps slower or faster."""
    recipe = member.model_dump(mode="json", exclude=_WITHOUT_EFFECT_ON_SPEED)
    recipe |= {key: bool(recipe[key]) for key in _ON_OR_OFF}
    return recipe | {
        "model_args": without_published_weights(member.model_args),
        "optimizer": member.optimizer.name,
        "schedule": [member.schedule.name, member.schedule.held_out_proportion],
        "loss": member.loss.name,
        "layer_decay": member.layer_decay < 1,
        "teacher": member.teacher and ["taught", member.learns_test_rows],
    }


def _validating(job: Job, work: JobBatch) -> int:
    return int(np.count_nonzero(work.folds == job.fold))


def _seconds(
    job: Job, trains: bool, throughput: Throughput, network: Network, validating: int, test: int
) -> float:
    """Of one job: the start, lessons and training if that is due, then prediction of both kinds of rows."""
    # What a head measures, it measures on each half of the rows that validate for the other; and once, when
    # it was trained, on all of them.
    passes = (3 if trains else 2) if network.head.needs_calibration else 1
    training = throughput.teaching + job.member.epochs * throughput.epoch if trains else 0.0
    return throughput.start + training + (passes * validating + test) / throughput.predicted


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
