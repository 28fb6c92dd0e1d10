"""How every program ends: errors in a line each, in the words of a shell, and an exit code."""

from __future__ import annotations

import contextlib
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator

from softvote.errors import UserError

INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM

# What the rooms below call by its name, in backquotes, and what is typed for it in a shell: arguments, and
# stages with what they are given. Another name in backquotes, such as a key, stays as it is.
_ARGUMENTS = ("accelerator", "addend", "fold", "image", "member", "name", "owner", "resize", "root", "set")
_TYPED = {name: f"--{name}" for name in _ARGUMENTS} | {
    "all": "--all",
    "check": "softvote check",
    "data": "make data ZIP=",
    "download": "make data PIPELINE=",
    "export": "softvote export",
    "fetch": "FETCH=1 (--fetch)",
    "folds": "make folds PIPELINE=",
    "init": "make init FOLDER=",
    "force": "FORCE=1 (--force)",
    "leaderboard": "make leaderboard",
    "push": "--push (PUSH=1)",
    "send": "SEND=1 (--send)",
    "submission": "SUBMIT=1 (--submit)",
    "submit": "make submit",
    "wait": "WAIT=1 (--wait)",
}


def in_shell_words(text: str) -> str:
    """The text with what it names in backquotes as it is typed in a shell: `` `name` `` is --name."""
    return re.sub(r"`([a-z]+)(?: ([^`\n]+))?`", _type_out, text)


def _type_out(named: re.Match[str]) -> str:
    typed = _TYPED.get(named[1])
    if typed is None:
        return named[0]
    if typed.endswith("=") and named[2]:
        return f"{typed}{named[2]}"
    return " ".join(filter(None, [typed.rpartition(" ")[0] if typed.endswith("=") else typed, named[2]]))


def run_program(
    name: str,
    work: Callable[[], object],
    stopped: str = "stopped",
    words: Callable[[str], str] = in_shell_words,
) -> int:
    """Run a program's work; what the user can fix is said in lines on standard error, without a traceback.

    Args:
        name: of the program, with which each line begins.
        stopped: said after Ctrl-C, unless the work says better what became of it.
        words: puts an error into the words of the place where it is read.

    Returns:
        The exit code: 0; 1 after a mistake of the user; 130 after Ctrl-C, and 143 after SIGTERM, which ends a
        program as Ctrl-C does.
    """
    with _sigterm_stops() as terminated:
        code = _exit_code(name, work, stopped, words)
    return TERMINATED if terminated and code == INTERRUPTED else code


@contextlib.contextmanager
def _sigterm_stops() -> Iterator[list[int]]:
    """Let SIGTERM end the work as Ctrl-C does; the signal is in the list once it came."""
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # where no signal arrives
        yield came
        return

    def stop(number: int, frame: object) -> None:
        came.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield came
    finally:
        signal.signal(signal.SIGTERM, before)


def _exit_code(name: str, work: Callable[[], object], stopped: str, words: Callable[[str], str]) -> int:
    try:
        work()
    except BrokenPipeError:  # the reader of a pipe, such as head, has seen enough
        return 1
    except UserError as error:
        _print_error(name, words(str(error)))
        return 1
    except OSError as error:  # what no room below had words for: a full disk, a folder gone meanwhile
        where = f"{error.filename}: " if error.filename else ""
        _print_error(name, words(f"{where}{error.strerror or error}"))
        return 1
    except KeyboardInterrupt as stop:
        _print_error(name, words(str(stop) or stopped))
        return INTERRUPTED
    return 0


def _print_error(name: str, text: str) -> None:
    for line in text.splitlines():
        print(f"{name}: {line}", file=sys.stderr)
