"""What one part leaves for another: names of files, packages, and data that scripts make."""

from __future__ import annotations

import re
from typing import Any

Facts = dict[str, Any]

MIB = 1 << 20
PACKED, RESULTS = "packed.json", "results.tar.gz"
LACKING = {
    "pydantic": "pydantic", "pydantic-core": "pydantic_core", "annotated-types": "annotated_types",
    "typing-inspection": "typing_inspection",
}  # fmt: skip
"""Packages to carry, by their names, and the modules that say whether they are there."""
MADE = {
    "digit-adder": ["digit_adder.py", "{source}", "{folder}"],
    "fresh-digits": ["four_digits.py", "{source}", "{folder}", "--test", "6000", "--seed", "{seed}"],
}
"""Competitions that a script of make_data makes of SOURCE; behind the name there may be a seed."""
SOURCE = "digit-recognizer"


def source_of(competition: str) -> str:
    """The competition whose files it is made of; itself where its files are what they are."""
    return SOURCE if making(competition) else competition


def making(competition: str) -> tuple[list[str], str] | None:
    """The script that makes a competition's files, with arguments, and the seed; None where none does."""
    for name, command in MADE.items():
        if competition == name or re.fullmatch(f"{name}-[0-9]+", competition):
            return command, competition[len(name) + 1 :] or "2026"
    return None
