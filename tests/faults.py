"""What goes wrong in processes that tests start; here, because those would import all that a test imports."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass

from softvote.data.dataset import Dataset
from softvote.errors import UserError
from softvote.scheduling.job_batch import JobBatch


def breaks() -> None:
    """Raise an error nobody foresaw."""
    raise RuntimeError("a bad sector")


def is_hit() -> None:
    """End as after a fault of memory."""
    os.kill(os.getpid(), signal.SIGSEGV)


def ends() -> None:
    """End without a word."""
    os._exit(3)


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
