"""What every engine is given and gives back: jobs that are due, and those of them that were left."""

from __future__ import annotations

import contextlib
import faulthandler
import functools
import math
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, TextIO

from softvote.data.dataset import Dataset
from softvote.errors import UserError
from softvote.scheduling.helpers import start_helpers
from softvote.scheduling.job import Job
from softvote.scheduling.job_batch import JobBatch
from softvote.scheduling.status import JobStatus, read_status
from softvote.scheduling.worker import EngineServices, run_job
from softvote.storage.cache import disk_cache
from softvote.storage.files import remove_if_exists
from softvote.storage.locks import try_lock

Kind = Literal["busy", "late", "failed"]


@dataclass(frozen=True)
class Unfinished:
    """A job that was not done: another run is busy with it, no time was left, or it failed; and why."""

    job: Job
    kind: Kind
    why: UserError


Engine = Callable[[JobBatch], list[Unfinished]]
"""Does what it can and returns what it could not; one job's failure stops no other."""


@dataclass
class TimeLeft:
    """Whether there is time for one more job, by those of its member that were done before."""

    deadline: float
    seconds: dict[str, float] = field(default_factory=dict)
    """The longest job of each member."""

    def note(self, job: Job, seconds: float) -> None:
        """A job was done in so many seconds."""
        self.seconds[job.member_name] = max(seconds, self.seconds.get(job.member_name, 0.0))

    def is_enough(self, job: Job) -> bool:
        """Whether a job can end before the deadline; of a member that was never seen, it is tried."""
        return time.monotonic() + self.seconds.get(job.member_name, 0.0) < self.deadline

    def until_deadline(self) -> float | None:
        """Seconds, at least 0; None where there is none."""
        return None if math.isinf(self.deadline) else max(0.0, self.deadline - time.monotonic())


def as_late(job: Job) -> Unfinished:
    """A job for which there was no time."""
    return Unfinished(job, "late", UserError.at(job.label, "no time is left for it"))


def run_locked(job: Job, work: JobBatch, begin: Callable[[], Dataset]) -> Unfinished | None:
    """Do one job in this process, unless it is done by now; None if it is.

    Args:
        begin: gives the data; called when the job is claimed and due.
    """
    try:
        with try_lock(job.folder.lock) as mine:
            if not mine:
                return as_taken(job)
            with _record_crash(job):
                status = read_status(job)  # now that nobody else can change it
                if not status.is_ready:
                    return as_waiting(job)
                if not status.is_done:
                    _run(status, begin(), work)
    except UserError as error:
        return Unfinished(job, "failed", error)
    except OSError as error:  # what no room below had words for, such as a full disk
        where = f"{error.filename}: " if error.filename else ""
        return Unfinished(job, "failed", UserError.at(job.label, f"{where}{error.strerror or error}"))
    return None


@contextlib.contextmanager
def _record_crash(job: Job) -> Iterator[None]:
    """Keep what ends a job in its `crash.log`, which goes when there was nothing to say.

    What an earlier run left there goes in any case, before it could be taken for this one's.
    """
    path = job.folder.crash
    with path.open("w", encoding="utf-8") as log, _log_faults(log):
        try:
            yield
        except (UserError, OSError):
            raise
        except Exception as error:
            what = f"{type(error).__name__}: {error}".partition("\n")[0]
            log.write(f"{what}\n{traceback.format_exc()}")
            raise UserError.at(job.label, f"crashed ({what}; all of it in {path})") from None
        finally:
            if not log.tell():
                remove_if_exists(path)


@contextlib.contextmanager
def _log_faults(log: TextIO) -> Iterator[None]:
    """Let the log say where this process was when it dies, unless somebody asked for that elsewhere."""
    if faulthandler.is_enabled():
        yield
        return
    faulthandler.enable(log)
    try:
        yield
    finally:
        faulthandler.disable()


def as_waiting(job: Job) -> Unfinished:
    """A job of whose sources some are not there."""
    missing = [source for source in job.sources if read_status(source).due == "train"] or job.sources
    what = f"waits for {' and '.join(source.label for source in missing)}, which another run is busy with"
    return Unfinished(job, "busy", UserError.at(job.label, what, "run the same command again"))


def as_taken(job: Job) -> Unfinished:
    """A job that another run is busy with."""
    return Unfinished(job, "busy", UserError.at(job.label, "another run is busy with it"))


def find_blocked(job: Job, left: Sequence[Unfinished]) -> Unfinished | None:
    """The job, where one of those that were left is a source of it and failed."""
    for source in job.sources:
        if any(each.job is source for each in left if each.kind == "failed"):
            why = UserError.at(job.label, f"{job.describe_need(source)}, which failed")
            return Unfinished(job, "failed", why)
    return None


def _run(status: JobStatus, dataset: Dataset, work: JobBatch) -> None:
    job, cache = status.job, disk_cache(work.workspace.autotune)
    team = functools.partial(start_helpers, work.devices_per_training, work.dataset, job, work.folds)
    services = EngineServices(work.checkpoint_seconds, cache=cache, team=team)
    run_job(job, dataset, work.folds, services, status.due)
