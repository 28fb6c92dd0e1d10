"""How numbers are said."""

from __future__ import annotations


def counted(number: int, what: str, several: str = "") -> str:
    """A number of things: `1 row`, `2,000 rows`, `0 rows`.

    Args:
        number: of the things.
        what: they are called where there is one.
        several: they are called otherwise, as `classes`, with a verb if need be; `what` and an s by default.
    """
    return f"{number:,} {what if number == 1 else several or f'{what}s'}"
