"""The errors a user can meet: one line each, saying what is wrong, where, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

MOST_OF_A_KIND = 100
"""So many mistakes of one kind are looked for; a wholly wrong file needs no line for each cell."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        where: a file with its row and column, a key or an argument; empty where only the caller knows.
        what: is wrong.
        hint: what to do; empty where `what` says it all.

    An argument or a stage is called by its name in backquotes, as `root` or `data path/to/it.zip`; the
    command line says what is typed for it.
    """

    where: str
    what: str
    hint: str = ""

    def __str__(self) -> str:
        what = f"{self.what}; {self.hint}" if self.hint else self.what
        return f"{self.where}: {what}" if self.where else what

    def within(self, place: object) -> Self:
        """The same problem, as one who knows more of the place tells it: `members.cnn: refit: ...`."""
        return replace(self, where=f"{place}: {self.where}" if self.where else str(place))


class UserError(Exception):
    """A mistake the user can fix.

    The command line prints it, one line per problem, without a traceback, and exits with 1.

    Args:
        problems: at least one; a bare text is a problem whose place the caller adds.
    """

    def __init__(self, *problems: Problem | str) -> None:
        self.problems = tuple(Problem("", each) if isinstance(each, str) else each for each in problems)
        super().__init__(*self.problems)  # which also makes it travel whole between processes

    @classmethod
    def at(cls, where: object, what: str, hint: str = "") -> Self:
        """The error of one problem."""
        return cls(Problem(str(where), what, hint))

    def within(self, place: object) -> Self:
        """The same error, each problem as `Problem.within` tells it."""
        return type(self)(*(problem.within(place) for problem in self.problems))

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))


class ErrorCollector:
    """Collects every problem of one input, so that the user fixes them all in one go.

    Args:
        shown: how many problems are spelled out; the rest are counted.
    """

    def __init__(self, shown: int = 20) -> None:
        self._problems: dict[Problem, None] = {}  # a set that keeps the order
        self.shown = shown

    def add(self, where: object, what: str, hint: str = "") -> None:
        """Note one problem, said as `Problem` says it."""
        self.extend([Problem(str(where), what, hint)])

    def extend(self, problems: Iterable[Problem]) -> None:
        """Note problems that others have found."""
        self._problems |= dict.fromkeys(problems)

    def __len__(self) -> int:
        return len(self._problems)

    def first(self) -> str:
        """The first of them in words; empty where there are none."""
        return str(next(iter(self._problems), ""))

    @property
    def problems(self) -> list[Problem]:
        """What was collected, in the order in which it was noted first."""
        return list(self._problems)

    def raise_any(self) -> None:
        """Raise what was collected, if anything.

        Raises:
            UserError: one line per problem.
        """
        if not self._problems:
            return
        problems = list(self._problems)
        hidden = len(problems) - self.shown
        tail = [f"... and {hidden} more like these"] if hidden > 0 else []
        raise UserError(*problems[: self.shown], *tail)


def cell(file: object, row: int, column: object) -> str:
    """Where a table's cell is: `row` counts lines of the file from 1, the header among them."""
    return f"{file}, row {row}, column {column}"


def one_of(known: list[str], unknown: str) -> str:
    """The known names, with the likeliest one first when `unknown` looks like a typing error."""
    import difflib

    close = difflib.get_close_matches(unknown, known, n=1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"{hint}known: {', '.join(known)}"
