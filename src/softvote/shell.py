"""How every program ends: errors in a line each, in the words of a shell, and an exit code."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable

from softvote.errors import UserError

INTERRUPTED = 130

# What the rooms below call by its name, in backquotes, and what is typed for it in a shell: arguments, and
# stages with what they are given. Another name in backquotes, such as a key, stays as it is.
_ARGUMENTS = ("addend", "fold", "image", "member", "name", "owner", "resize", "root", "set")
_TYPED = {name: f"--{name}" for name in _ARGUMENTS} | {
    "check": "softvote check",
    "data": "make data ZIP=",
    "export": "softvote export",
    "folds": "make folds",
    "force": "FORCE=1 (--force)",
    "leaderboard": "make leaderboard",
    "push": "--push (PUSH=1)",
    "submit": "make submit",
}


def in_shell_words(text: str) -> str:
    """The text with what it names in backquotes as it is typed in a shell: `` `name` `` is --name."""
    return re.sub(r"`([a-z]+)(?: ([^`\n]+))?`", _typed, text)


def _typed(named: re.Match[str]) -> str:
    typed = _TYPED.get(named[1])
    if typed is None:
        return named[0]
    return f"{typed}{named[2]}" if typed.endswith("=") else " ".join(filter(None, [typed, named[2]]))


def run_program(
    name: str,
    work: Callable[[], object],
    stopped: str = "stopped",
    words: Callable[[str], str] = in_shell_words,
) -> int:
    """Run a program's work; what the user can mend is said in lines on standard error, without a traceback.

    Args:
        name: of the program, with which each line begins.
        stopped: said after Ctrl-C, unless the work says better what became of it.
        words: puts an error into the words of the place where it is read.

    Returns:
        The exit code: 0; 1 after a mistake of the user; 130 after Ctrl-C.
    """
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
