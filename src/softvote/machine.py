"""The machine as this process may use it: its processor's name, its cores and its free memory.

Containers limit both through control groups, of version 1 or 2, which programs read as files. Every
function that asks takes the reader of files, so that it is a function of text alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import multiprocessing
import os
import platform
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from multiprocessing import connection, forkserver, resource_tracker
from pathlib import Path, PurePosixPath

Read = Callable[[str], str]
"""The text of a file; empty where it cannot be read."""


_GROUPS = PurePosixPath("/sys/fs/cgroup")


_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of glibc's malloc.h


_UNLIMITED = 1 << 62  # bytes; version 1 says "no limit" with a number of this size


def read(path: str) -> str:
    """The text of a file of this machine; empty where it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def processor(read: Read = read) -> str:
    """What the system calls its processor."""
    named = _value(read("/proc/cpuinfo"), "model name", ":")
    return named or platform.processor() or platform.machine()


def cores(read: Read = read) -> int:
    """Cores this process may use, at least 1: those it is bound to, no more than a container's quota of time.

    A quota of 1.5 cores counts as 2: what is left idle of a core is lost, what is throttled is only late.
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([bound, *(math.ceil(quota) for quota in _quotas(read))]))


def free_memory(read: Read = read) -> int:
    """Bytes that programs may still take, of the machine and of the container; enough where nobody tells."""
    available = _value(read("/proc/meminfo"), "MemAvailable:")
    machine = int(available.split()[0]) << 10 if available else _UNLIMITED
    return max(0, min([machine, *_left_in_groups(read)]))


def keep_freed_memory() -> None:
    """Let this process keep what it frees, for its next request of that size; only glibc can be told.

    A training step asks for the same megabytes as the one before. glibc would hand each large block back to
    the system and have it filled with zeros when it is asked for again (PyTorch's tuning guide, "memory
    allocator"; mallopt(3)).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def end_with_parent() -> None:
    """Let this process end with its parent: a run that was killed shall not go on where nobody sees it."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _quotas(read: Read) -> Iterator[float]:
    """Cores' worth of time that each group around this process may take."""
    for folder in _groups(read, ""):
        yield from _quota(read(f"{folder}/cpu.max"))
    for folder in _groups(read, "cpu"):
        quota, period = (read(f"{folder}/cpu.cfs_{name}_us").strip() for name in ("quota", "period"))
        yield from _quota(f"{quota} {period}")


def _quota(text: str) -> Iterator[float]:
    """Cores of "<microseconds> <of how many>"; none where it is "max ...", "-1 ..." or nothing."""
    numbers = text.split()
    if len(numbers) == 2 and numbers[0].isdecimal() and numbers[1].isdecimal():
        yield int(numbers[0]) / int(numbers[1])


def _left_in_groups(read: Read) -> Iterator[int]:
    """Bytes left in each group around this process; cached files count as free, for they make way."""
    for controller, limit, used, cached in (
        ("", "memory.max", "memory.current", "inactive_file"),
        ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        for folder in _groups(read, controller):
            most, now = read(f"{folder}/{limit}").strip(), read(f"{folder}/{used}").strip()
            if most.isdecimal() and now.isdecimal():
                yield int(most) - int(now) + int(_value(read(f"{folder}/memory.stat"), cached) or 0)


def _groups(read: Read, controller: str) -> Iterator[PurePosixPath]:
    """Folders of the groups that this process is in, from its own outwards; an outer limit holds as well.

    Args:
        controller: of version 1; empty for version 2, which has one tree for all.
    """
    for line in read("/proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controller not in controllers.split(","):
            continue
        root = _GROUPS / controller
        own = root / path.lstrip("/")
        # Within a container the path may be that of the machine outside; what is not there reads as empty.
        yield from (folder for folder in (own, *own.parents) if folder.is_relative_to(root))


def _value(text: str, name: str, after: str = "") -> str:
    """The rest of the line that begins with a name and what may stand after it; empty where none does."""
    lines = (line for line in text.splitlines() if line.startswith(name))
    return next(lines, "").removeprefix(name).strip().removeprefix(after).strip()


def start_forkserver(*preloaded: str) -> None:
    """Start the server that processes are forked from, unless it runs.

    Ctrl-C reaches every process of the terminal. Those that come from the server are deaf to it: this one
    alone answers, and ends the others.

    Args:
        preloaded: modules that the server imports, once for all processes; of no use where it runs already.
    """
    multiprocessing.get_context("forkserver").set_forkserver_preload(list(preloaded))
    resource_tracker.ensure_running()  # before the mask, which starting it would lift
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@contextlib.contextmanager
def defer_interrupts() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait until this is over; for what may not be left half done.

    Handlers are replaced and no mask is set, because a signal that another thread takes passes a mask.
    """
    came = list[int]()
    answered = [each for each in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(each) is not None]
    if threading.current_thread() is not threading.main_thread():  # which alone answers signals
        answered = []
    before = {each: signal.signal(each, lambda number, _: came.append(number)) for each in answered}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    for number in came[:1]:
        signal.raise_signal(number)
