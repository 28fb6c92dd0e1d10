"""Progress of long work: a bar for people at a terminal, a line now and then for log files."""

from __future__ import annotations

import fcntl
import math
import sys
import threading
import time
from collections.abc import Callable, Container
from pathlib import Path
from typing import Any

from tqdm import tqdm

_SECONDS_PER_LINE = 10.0

_place = 0


def note(text: str) -> None:
    """Say something of work that goes on, in a line of its own on standard error."""
    print(text, file=sys.stderr, flush=True)


def set_bar_position(place: int, screen: Path) -> None:
    """Show what this process does in a line of its own, below those of its siblings.

    Args:
        place: of the line, from 0.
        screen: a file that is there; locked by whoever writes.
    """
    global _place
    _place = place
    tqdm.set_lock(ScreenLock(screen))


class ScreenLock:
    """A lock over threads and processes. One that is killed frees it, which a semaphore would not.

    Args:
        path: of a file that is there.
    """

    def __init__(self, path: Path) -> None:
        self._file, self._threads, self._depth = path.open("rb"), threading.RLock(), 0

    def acquire(self) -> None:
        """Wait until no other holds it; its holder may take it again."""
        self._threads.acquire()
        self._depth += 1
        if self._depth == 1:
            fcntl.flock(self._file, fcntl.LOCK_EX)

    def release(self) -> None:
        """Give it back once for each time it was taken."""
        self._depth -= 1
        if not self._depth:
            fcntl.flock(self._file, fcntl.LOCK_UN)
        self._threads.release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class TrainingProgress:
    """Shows one training.

    Args:
        label: which training, such as "cnn fold 0".
        epochs: how many there are.
        images: how many an epoch feeds.
        done: epochs that were fed before, by a process that is gone.
    """

    def __init__(self, label: str, epochs: int, images: int, done: float = 0.0) -> None:
        self.label, self.epochs, self.images = label, epochs, images
        if done:
            note(f"{label}: goes on in epoch {min(int(done) + 1, epochs)} of {epochs}")
        self.told = time.perf_counter()
        self.bar: Any = tqdm(
            total=epochs * images, initial=round(done * images), desc=label,
            position=_place, unit="img", unit_scale=True, leave=False,
            disable=not sys.stderr.isatty(), dynamic_ncols=True,
        )  # fmt: skip

    @property
    def wants_figures(self) -> bool:
        """Whether somebody looks at figures within an epoch; fetching them stops an accelerator."""
        return not self.bar.disable

    def end_batch(self, images: int, figures: str | None) -> None:
        """Move on by some images; `figures` replaces what the bar says of loss and accuracy."""
        if figures is not None:
            self.bar.set_postfix_str(figures, refresh=False)
        self.bar.update(images)

    def end_epoch(self, epoch: int, loss: float, accuracy: float, images_per_second: float) -> None:
        """Without a terminal, say every ten seconds and at the end how the epoch went and what is left."""
        now = time.perf_counter()
        last = epoch + 1 == self.epochs
        if not self.bar.disable or (now - self.told < _SECONDS_PER_LINE and not last):
            return
        self.told = now
        # Rounded up, so that nothing is left after the last epoch alone.
        left = math.ceil((self.epochs - epoch - 1) * self.images / images_per_second)
        print(
            f"{self.label}: epoch {epoch + 1}/{self.epochs}  loss {loss:.4f}  accuracy {accuracy:.2%}  "
            f"{images_per_second:,.0f} images/s  {_clock(left)} left",
            file=sys.stderr,
            flush=True,
        )

    def close(self) -> None:
        """Take the bar away."""
        self.bar.close()


_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0


def poll(
    what: str,
    look: Callable[[], str],
    lasting: Container[str],
    patience: float = math.inf,
    passing: type[Exception] | tuple[type[Exception], ...] = (),
) -> str:
    """Look again and again, ever less often, until the state is one that lasts.

    The state, the time it has taken and the longest it will take are shown on standard error.

    Args:
        what: is waited for, such as "score of 123".
        look: says the state, such as "pending".
        lasting: the states that end the wait.
        patience: seconds after which it is given up.
        passing: failures of `look` that end nothing: the state is "no answer" then.

    Returns:
        The last state; one that is not among the lasting where patience ran out.
    """
    started, pause, told = time.perf_counter(), _FIRST_PAUSE, ""
    longest = "" if math.isinf(patience) else f" of at most {_clock(patience)}"
    at_terminal = sys.stderr.isatty()
    try:
        while (state := _state(look, passing)) not in lasting:
            spent = time.perf_counter() - started
            if spent >= patience:
                break
            if at_terminal or state != told:
                line = f"{what}: {state}, {_clock(spent)}{longest}"
                print(
                    f"\r{line}\x1b[K" if at_terminal else line,
                    end="" if at_terminal else "\n",
                    file=sys.stderr,
                    flush=True,
                )
            told = state
            time.sleep(pause)
            pause = min(1.5 * pause, _LONGEST_PAUSE)
    finally:
        if at_terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    return state


def _state(look: Callable[[], str], passing: type[Exception] | tuple[type[Exception], ...]) -> str:
    try:
        return look()
    except passing:
        return "no answer"


def _clock(seconds: float) -> str:
    """Minutes and seconds, 1:05; with hours where there are any, 3:00:00."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"


class CountProgress:
    """Shows work of many equal parts: a bar at a terminal, else a line now and then where it takes long.

    Args:
        label: what is done, such as "decoding train images".
        total: how many parts there are.
        done: of them before.
    """

    def __init__(self, label: str, total: int, done: int = 0) -> None:
        self.label, self.total, self.done = label, total, done
        self._began, self._first, self._told = time.perf_counter(), done, time.perf_counter()
        if done:
            note(f"{label}: goes on after {done:,} of {total:,}")
        self._bar: Any = tqdm(
            total=total, initial=done, desc=label, position=_place, unit_scale=True, leave=False,
            disable=not sys.stderr.isatty(), dynamic_ncols=True,
        )  # fmt: skip

    def add(self, count: int) -> None:
        """So many more are done."""
        self.done += count
        self._bar.update(count)
        now = time.perf_counter()
        if self._bar.disable and now - self._told >= _SECONDS_PER_LINE:
            self._told = now
            rate = (self.done - self._first) / (now - self._began)
            left = _clock((self.total - self.done) / rate)
            note(f"{self.label}: {self.done:,} of {self.total:,}  {rate:,.0f} per second  {left} left")

    def close(self) -> None:
        """Take the bar away."""
        self._bar.close()
