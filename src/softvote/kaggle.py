"""Kaggle: every call to the kaggle package, with each failure told in one line.

The package is imported only when a `Client` is made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["pending", "complete", "error"]


@dataclass(frozen=True)
class Quota:
    """How many submissions a team has made and may still make.

    Attributes:
        today: sent since midnight UTC.
        left: may be sent now.
    """

    today: int
    left: int


@dataclass(frozen=True)
class Submission:
    """A past submission as Kaggle reports it.

    Attributes:
        ref: Kaggle's number for it.
        file: the name it was uploaded under.
        time: in UTC to the second, 2025-01-31T12:00:00Z.
        description: what the sender wrote.
        public: score 0..1 on the public part of the test rows; None where there is none.
        private: the same on the others.
        error: why Kaggle could not score it; empty otherwise.
    """

    ref: int
    file: str
    time: str
    description: str
    status: Status
    public: float | None = None
    private: float | None = None
    error: str = ""
