"""Jobs in processes of this machine, several at once, each with its share of the cores."""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing import connection
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import ParamSpec, TypeVar

from softvote.data.dataset import Dataset
from softvote.errors import Problem, UserError
from softvote.machine import defer_interrupts, end_with_parent, start_forkserver
from softvote.progress import set_bar_position
from softvote.scheduling.engine import (
    TimeLeft,
    Unfinished,
    as_late,
    as_waiting,
    find_blocked,
    run_locked,
)
from softvote.scheduling.helpers import describe_end
from softvote.scheduling.job import Job
from softvote.scheduling.job_batch import JobBatch
from softvote.scheduling.resources import assign_devices, set_worker_device
from softvote.scheduling.status import is_ready
from softvote.storage.files import remove_if_empty
from softvote.storage.snapshot import Snapshot

# Processes are forked from a server that has imported these and done nothing else: starting one costs
# milliseconds instead of the seconds that torch takes, and no thread of this process is forked along.
context = multiprocessing.get_context("forkserver")

_Arguments = ParamSpec("_Arguments")
_Answer = TypeVar("_Answer")


_PRELOADED = [
    "softvote.training.train",
    "softvote.training.checkpoint",
    "softvote.inference.loading",
    __name__,  # what each begins with
    "softvote.cli",  # which each imports first where the program is a script
]

_FOR_PROCESSORS = "softvote.ops.cpu_kernels"  # and of no use where there is a GPU


def prepare(*more: str) -> None:
    """Let the server import torch while this process looks for mistakes.

    Args:
        more: modules that every job is going to import besides; of no use where the server runs already.
    """
    has_gpu = any(Path("/dev").glob("nvidia[0-9]*"))  # which only torch could tell for certain, in seconds
    start_forkserver(*_PRELOADED, *([] if has_gpu else [_FOR_PROCESSORS]), *more)


def call_forked(
    function: Callable[_Arguments, _Answer], *args: _Arguments.args, **kwargs: _Arguments.kwargs
) -> _Answer:
    """Call a function of a module in a process of its own, so that what it imports is imported once, there.

    Args:
        function: it and its arguments are sent there, and its answer back.

    Raises:
        UserError: what the function raises; or its process ended before it could answer.
    """
    prepare()
    said, saying = context.Pipe(duplex=False)
    call = functools.partial(function, *args, **kwargs)
    process = context.Process(target=_tell_answer, args=(call, saying), name=function.__name__)
    process.start()
    saying.close()
    try:
        with said:
            answer: _Answer | UserError = said.recv()
    except (EOFError, OSError):
        process.join()
        raise UserError(Problem("", f"the process that looks for mistakes {describe_end(process)}")) from None
    except BaseException:
        process.terminate()
        raise
    finally:
        process.join()
    if isinstance(answer, UserError):
        raise answer
    return answer


def _tell_answer(call: Callable[[], object], saying: Connection) -> None:
    end_with_parent()
    answer: object
    try:
        answer = call()
    except UserError as error:
        answer = error
    with contextlib.suppress(BrokenPipeError):  # who asked was stopped before this process could begin
        saying.send(answer)


Supply = Callable[[int, Sequence[Unfinished]], list[Job]]
"""(free places, what was left so far) gives further jobs; asked again whenever one has ended."""


def run_local(work: JobBatch, workers: int | None, supply: Supply | None = None) -> list[Unfinished]:
    """Do the jobs in processes of their own.

    A process that ends by itself, whatever happened to it, loses its own job only; what it said is in
    `crash.log` in the job's folder.

    Args:
        workers: how many at once; None for as many as pay.
        supply: gives the jobs, which may depend on what came of earlier ones; those of `work` then say no
            more than how large they are.
    """
    gpus, threads = assign_devices(work, workers, call_forked)
    with tempfile.NamedTemporaryFile(prefix="softvote-") as screen:
        return _Pool(work, gpus, threads, Path(screen.name), supply).run()


@dataclass(frozen=True)
class _Running:
    job: Job
    place: int
    process: ForkServerProcess
    said: Connection
    began: float


class _Pool:
    """The jobs of one run: those that wait, those that run, and those that were left."""

    def __init__(
        self, work: JobBatch, gpus: list[int], threads: int, screen: Path, supply: Supply | None = None
    ) -> None:
        self.supply = supply
        self.work, self.gpus, self.threads, self.screen = work, gpus, threads, screen
        self.running, self.left = list[_Running](), list[Unfinished]()
        self.waiting = [] if supply else list(work.jobs)
        self.places = list(range(len(gpus)))
        self.something_was_done = False
        self.time = TimeLeft(work.deadline)

    def run(self) -> list[Unfinished]:
        """Until nothing is left that could be done."""
        try:
            while True:
                self._start_what_can_run()
                if self.running:
                    self._collect()
                elif self.something_was_done:
                    self._take_up_what_was_busy()
                else:
                    return self.left + [as_waiting(job) for job in self.waiting]
        finally:
            for running in self.running:  # only where this process is being stopped
                _end(running)

    def _start_what_can_run(self) -> None:
        if self.supply:
            self.waiting += self.supply(len(self.places) - len(self.waiting), self.left)
        self._leave_what_is_blocked()
        files = Snapshot()
        for job in list(self.waiting):
            if self.places and is_ready(job, files):
                self.waiting.remove(job)
                if self.time.is_enough(job):
                    self._start(job, self.places.pop(0))
                else:
                    self.left.append(as_late(job))

    def _leave_what_is_blocked(self) -> None:
        """One that is blocked blocks those that start from it."""
        found = [find_blocked(job, self.left) for job in self.waiting]
        if lost := [blocked for blocked in found if blocked]:
            self.waiting = [job for job, blocked in zip(self.waiting, found, strict=True) if not blocked]
            self.left += lost
            self._leave_what_is_blocked()

    def _start(self, job: Job, place: int) -> None:
        said, saying = context.Pipe(duplex=False)
        share = (self.threads, self.gpus[place])
        process = context.Process(
            target=_do, args=(job, self.work, share, place, self.screen, saying), name=job.label
        )
        with defer_interrupts():  # or one has begun that nobody ends
            process.start()
            self.running.append(_Running(job, place, process, said, time.monotonic()))
        saying.close()

    def _collect(self) -> None:
        """Wait until a process says what became of its job, or ends; at the deadline stop all."""
        spoken = connection.wait([running.said for running in self.running], self.time.until_deadline())
        if not spoken:
            self._stop()
        for running in [running for running in self.running if running.said in spoken]:
            left = _outcome(running)
            self.running.remove(running)
            self.places = sorted([*self.places, running.place])
            if left:
                self.left.append(left)
            else:
                self.something_was_done = True
                self.time.note(running.job, time.monotonic() - running.began)

    def _stop(self) -> None:
        """Leave what runs; the state that it wrote down is kept."""
        for running in self.running:
            _end(running)
            running.said.close()
            self.left.append(as_late(running.job))
        self.places = list(range(len(self.gpus)))
        self.running.clear()

    def _take_up_what_was_busy(self) -> None:
        """Another run may have left it meanwhile; asked again as long as time goes by with work."""
        self.waiting += [left.job for left in self.left if left.kind == "busy"]
        self.left = [left for left in self.left if left.kind != "busy"]
        self.something_was_done = False


def _end(running: _Running) -> None:
    """End a process in the middle of its job, and leave no empty log of it."""
    running.process.terminate()
    running.process.join()
    remove_if_empty(running.job.folder.crash)


def _outcome(running: _Running) -> Unfinished | None:
    """What the process said of its job, once it has ended; None if the job is done."""
    job = running.job
    with running.said as said:
        try:
            found: Unfinished | None = said.recv()
        except (EOFError, OSError):  # it ended before it could say anything, or all of it
            running.process.join()
            why = UserError.at(job.label, _death(running), "run the same command to go on")
            return Unfinished(job, "failed", why)
    running.process.join()
    return found and replace(found, job=job)


def _death(running: _Running) -> str:
    """How a process ended, and what it said."""
    log, how = running.job.folder.crash, describe_end(running.process)
    words = "" if running.process.exitcode == -signal.SIGKILL else _first_words(log)
    return f"{how} ({words}; all of it in {log})" if words else how


def _first_words(log: Path) -> str:
    """How a job's log begins: with the error itself."""
    try:
        return log.read_text(encoding="utf-8", errors="replace").partition("\n")[0]
    except OSError:
        return ""


def _do(
    job: Job, work: JobBatch, share: tuple[int, int], place: int, screen: Path, saying: Connection
) -> None:
    end_with_parent()
    set_bar_position(place, screen)

    def begin() -> Dataset:
        set_worker_device(*share)
        return work.dataset()

    saying.send(run_locked(job, work, begin))
