"""What is sent with a submission, and leads back to the ledger."""

from __future__ import annotations

import re

from softvote.tracking.ledger import Entry


def submission_message(entry: Entry) -> str:
    """One line for Kaggle's list of submissions, with the sha256 that leads back to the ledger."""
    return f"{entry.pipeline}, {entry.voter}, cross-validation {entry.cv}, sha256 {entry.sha256}"


def parse_sha256(description: str) -> str | None:
    """The sha256 that a description carries, whatever people wrote around it."""
    found = re.search(r"\bsha256 ([0-9a-f]{64})\b", description)
    return found[1] if found else None
