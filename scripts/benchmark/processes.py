"""The loops, seen from the process that measures."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Any

from benchmark.cases import Facts
from benchmark.laps import Order
from softvote.errors import UserError

_context = multiprocessing.get_context("spawn")


def _serve(line: Connection, body: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    # A spawned process spawns its children too, and a DataLoader's workers would take seconds to start
    # in every epoch; in a notebook they start the system's way.
    multiprocessing.set_start_method(None, force=True)  # type: ignore[arg-type]
    with suppress(EOFError, ConnectionError):  # the measuring process is gone
        try:
            line.send(body(line, *arguments))
        except UserError as error:
            line.send(error)


class Loop:
    """A process that runs `body(line, *arguments)` and gives what it returns, or its UserError."""

    def __init__(self, name: str, body: Callable[..., Any], *arguments: Any) -> None:
        self.name = name
        self.line, theirs = _context.Pipe()
        self.process = _context.Process(target=_serve, args=(theirs, body, arguments), name=name)
        # Ctrl-C reaches every process of the terminal; this one alone answers it, and ends the others.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        theirs.close()

    def order(self, order: Order) -> None:
        with suppress(OSError):  # of one that has ended, `receive` tells
            self.line.send(order)

    def receive(self) -> Any:
        """What the process says next.

        Raises:
            UserError: what it could not do, or that it ended without a word.
        """
        try:
            found = self.line.recv()
        except (EOFError, OSError):
            self.process.join()
            code = self.process.exitcode
            raise UserError(
                f"{self.name}: its process ended with exit code {code}; it says why above"
            ) from None
        if isinstance(found, UserError):
            raise found
        return found

    def close(self) -> None:
        """A loop ends at its next step when nobody listens."""
        self.line.close()
        self.process.join(10)
        self.process.terminate()
        self.process.join()


@contextmanager
def loops(*starts: tuple[Any, ...]) -> Iterator[list[Loop]]:
    """Processes side by side, each warmed up and at rest; ended when the block ends."""
    with ExitStack() as stack:
        started = []
        for start in starts:
            started.append(Loop(*start))
            stack.callback(started[-1].close)
        for loop in started:
            loop.receive()
        yield started


def lap(running: Sequence[Loop], order: Order) -> list[Facts]:
    """One lap of loops side by side; what each found."""
    for loop in running:
        loop.order(order)
    found = [loop.receive() for loop in running]
    for loop in running:
        loop.order(Order("rest"))
    return found


def rate(running: Sequence[Loop], order: Order) -> float:
    """Images, or operations, a second of loops side by side."""
    return float(sum(found["rate"] for found in lap(running, order)))


def dismiss(running: Sequence[Loop]) -> list[Facts]:
    """Stop loops; what each says of itself."""
    for loop in running:
        loop.order(Order("stop"))
    return [loop.receive() for loop in running]
