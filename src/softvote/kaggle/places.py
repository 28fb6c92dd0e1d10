"""Where a kernel finds its files."""

from __future__ import annotations

INPUT = "SOFTVOTE_INPUT"
"""The environment variable that stands for another folder than Kaggle's of mounted files."""


OUTPUT = "SOFTVOTE_OUTPUT"
"""The same for the folder whose files Kaggle keeps."""
