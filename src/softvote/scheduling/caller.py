"""Where a function runs that needs torch: in this process, or in one that has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, Protocol, TypeVar

_Arguments = ParamSpec("_Arguments")
_Answer = TypeVar("_Answer")


class Caller(Protocol):
    """Calls a function, in this process or another, and gives back what it returns or raises."""

    def __call__(
        self, function: Callable[_Arguments, _Answer], *args: _Arguments.args, **kwargs: _Arguments.kwargs
    ) -> _Answer: ...


def call_here(
    function: Callable[_Arguments, _Answer], *args: _Arguments.args, **kwargs: _Arguments.kwargs
) -> _Answer:
    """Call a function in this process."""
    return function(*args, **kwargs)
