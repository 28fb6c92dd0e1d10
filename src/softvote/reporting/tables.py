"""Plain text tables."""

from __future__ import annotations

from collections.abc import Sequence

from softvote.tracking.ledger import TRANSDUCTIVE


def mark_transductive(voter: str, learned_test: bool) -> str:
    """A voter's name, marked where some of its networks learned test images."""
    return f"{voter}, {TRANSDUCTIVE}" if learned_test else voter


def render(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns under a header and a rule, two spaces apart; columns of numbers are flush right.

    Args:
        header: one name per column.
        rows: one text per column; an empty one says nothing about its column.

    Returns:
        Lines without trailing spaces, ending in a line end.
    """
    columns = list(zip(header, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    right = [_numeric(column[1:]) for column in columns]

    def line(cells: Sequence[str]) -> str:
        aligned = zip(cells, widths, right, strict=True)
        return "  ".join(c.rjust(w) if flush else c.ljust(w) for c, w, flush in aligned).rstrip()

    rule = ["-" * width for width in widths]
    return "\n".join(line(cells) for cells in [header, rule, *rows]) + "\n"


def _numeric(cells: Sequence[str]) -> bool:
    filled = [cell for cell in cells if cell]
    return bool(filled) and all(cell.lstrip("+-")[:1].isdigit() for cell in filled)
