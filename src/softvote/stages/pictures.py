"""What the stages that draw return."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Picture:
    """A picture that was drawn.

    Attributes:
        path: of the file; None where there was nothing to draw.
        note: why nothing was drawn; empty otherwise.
    """

    path: Path | None
    note: str = ""

    def __str__(self) -> str:
        return self.note or f"wrote {self.path}"
