"""What goes wrong in processes that tests start; here, because those would import all that a test imports."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from softvote.data.dataset import Dataset
from softvote.errors import UserError
from softvote.scheduling.job_batch import JobBatch


def breaks() -> None:
    """Raise an error nobody foresaw, which is another where this process would outlive its parent."""
    watches = any("watch" in thread.name for thread in threading.enumerate())
    raise RuntimeError("a bad sector" if watches else "nobody watches the parent")


def blocks_ctrl_c() -> bool:
    """Whether Ctrl-C, which reaches all processes of a terminal, does nothing here."""
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def is_hit() -> None:
    """End as after a fault of memory."""
    os.kill(os.getpid(), signal.SIGSEGV)


def ends() -> None:
    """End without a word."""
    os._exit(3)


def hangs() -> None:
    """Go on for longer than anybody waits."""
    time.sleep(600)


def refuse(what: str) -> None:
    """Tell a mistake."""
    raise UserError(what)


@dataclass(frozen=True)
class Unreadable(JobBatch):
    """Work whose data cannot be read."""

    fault: Callable[[], None] = breaks

    def dataset(self) -> Dataset:
        """Fail."""
        self.fault()
        raise AssertionError
