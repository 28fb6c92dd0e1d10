"""Processes that help this one to train a network, each on a device of its own."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from softvote.data.dataset import Dataset
from softvote.errors import Problem, UserError
from softvote.machine import end_with_parent, start_forkserver
from softvote.scheduling.job import Job
from softvote.scheduling.resources import set_worker_device
from softvote.scheduling.worker import assist

if TYPE_CHECKING:
    from softvote.training.data_parallel import Alone

_PRELOADED = "softvote.training.train"  # with torch, once for all helpers

_PATIENCE = 5.0  # seconds that a helper whose connection ended has to say why


@contextlib.contextmanager
def start_helpers(
    size: int, begin: Callable[[], Dataset], job: Job, folds: NDArray[np.int64]
) -> Iterator[Alone]:
    """Have other processes train with this one for as long as the block lasts.

    Args:
        size: how many processes, with this one, which is the first.
        begin: gives the others the data; it is sent to them.
        folds: int64 (N,), the fold of each training row.

    Raises:
        UserError: a helper ended before its time, and why.
    """
    from softvote.training.data_parallel import Alone, ProcessGroup

    if size == 1:
        yield Alone()
        return
    with tempfile.TemporaryDirectory(prefix="softvote-") as folder, contextlib.ExitStack() as stack:
        meeting = Path(folder) / "meeting"
        helpers = [_start(_Task(rank, size, meeting, begin, job, folds)) for rank in range(1, size)]
        for helper in helpers:
            stack.callback(helper.end)
        try:
            for helper in helpers:
                helper.wait_until_ready(job.label)
            group = ProcessGroup(0, size, meeting)
            stack.callback(group.leave)
            yield group
        except RuntimeError:  # of a collective operation, perhaps, in which a helper is missing
            _raise_what_ended(helpers, job.label)
            raise


@dataclass(frozen=True)
class _Task:
    """What a helper does."""

    rank: int
    size: int
    meeting: Path
    begin: Callable[[], Dataset]
    job: Job
    folds: NDArray[np.int64]


@dataclass(frozen=True)
class _Helper:
    rank: int
    process: ForkServerProcess
    said: Connection

    def wait_until_ready(self, label: str) -> None:
        """Until it is about to meet the others."""
        try:
            found = self.said.recv()
        except EOFError:
            raise self.lost(label) from None
        if isinstance(found, UserError):
            raise found

    def lost(self, label: str) -> UserError:
        """It ended without a word."""
        self.process.join()
        what = f"its process {self.rank} {describe_end(self.process)}"
        return UserError.at(label, what, "run the same command to go on")

    def end(self) -> None:
        """End it, wherever it is."""
        self.process.terminate()
        self.process.join()
        self.said.close()


def describe_end(process: ForkServerProcess) -> str:
    """How a process ended, by its exit code."""
    code = process.exitcode or 0
    if code == -signal.SIGKILL:
        return "was killed (SIGKILL), as the system does when memory runs out"
    return f"ended with {signal.Signals(-code).name if code < 0 else f'exit code {code}'}"


def _start(task: _Task) -> _Helper:
    import torch

    start_forkserver(_PRELOADED)
    context = multiprocessing.get_context("forkserver")
    said, saying = context.Pipe(duplex=False)
    first = torch.cuda.current_device() if torch.cuda.is_available() else 0
    device = (torch.get_num_threads(), first + task.rank)
    process = context.Process(target=_help, args=(task, device, saying), name=f"{task.job.label} {task.rank}")
    process.start()
    saying.close()
    return _Helper(task.rank, process, said)


def _raise_what_ended(helpers: list[_Helper], label: str) -> None:
    """Raise what a helper said, or that it said nothing; return where all of them are there."""
    ended = connection.wait([helper.said for helper in helpers], _PATIENCE)
    for helper in (helper for helper in helpers if helper.said in ended):
        try:
            raise helper.said.recv()
        except EOFError:
            raise helper.lost(label) from None


def _help(task: _Task, device: tuple[int, int], saying: Connection) -> None:
    from softvote.training.data_parallel import ProcessGroup

    end_with_parent()
    set_worker_device(*device)
    try:
        dataset = task.begin()
        saying.send("ready")
        group = ProcessGroup(task.rank, task.size, task.meeting)
        assist(task.job, dataset, task.folds, group)
        group.leave()
    except UserError as error:
        saying.send(error)
    except Exception as error:  # the first process says it in a line
        what = f"{type(error).__name__}: {error}".partition("\n")[0]
        saying.send(UserError(Problem(task.job.label, f"its process {task.rank} crashed ({what})")))
