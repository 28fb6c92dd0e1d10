"""What happened on the other machine, as it is told there and here."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass
class Report:
    """What happened, a line at a time, on the screen and in a file that comes back."""

    began: float = field(default_factory=time.monotonic)
    lines: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        line = f"[{time.monotonic() - self.began:6.1f} s] {text}"
        self.lines.append(line)
        print(line, flush=True)
