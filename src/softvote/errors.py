"""The errors a user can meet: one line each, saying what is wrong, where, and what to do."""

from __future__ import annotations


class UserError(Exception):
    """A mistake the user can mend.

    The command line prints its text, one line a problem, without a traceback, and exits with 1.
    """


class ErrorCollector:
    """Collects every problem of one input, so that the user mends them all in one go.

    Args:
        shown: how many problems are spelled out; the rest are counted.
    """

    def __init__(self, shown: int = 20) -> None:
        self._lines: dict[str, None] = {}  # a set that keeps the order
        self.shown = shown

    def add(self, where: str, what: str) -> None:
        """Note one problem: `where` is a file with its row and column, `what` also names the fix."""
        self._lines[f"{where}: {what}"] = None

    def __len__(self) -> int:
        return len(self._lines)

    def raise_any(self) -> None:
        """Raise what was collected, if anything.

        Raises:
            UserError: one line a problem.
        """
        if not self._lines:
            return
        lines = list(self._lines)
        hidden = len(lines) - self.shown
        tail = [f"... and {hidden} more like these"] if hidden > 0 else []
        raise UserError("\n".join(lines[: self.shown] + tail))


def cell(file: object, row: int, column: object) -> str:
    """Where a table's cell is: `row` counts lines of the file from 1, the header among them."""
    return f"{file}, row {row}, column {column}"


def one_of(known: list[str], unknown: str) -> str:
    """The known names, with the likeliest one first when `unknown` looks like a typing error."""
    import difflib

    close = difflib.get_close_matches(unknown, known, n=1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"{hint}known: {', '.join(known)}"
