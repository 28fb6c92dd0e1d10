"""Heads: what a network's raw output means, how it is trained, and how it becomes probabilities.

A head speaks of what the image shows: K values, numbered from 0. Where the value is the sum of S
hidden digits, K is 9 S + 1. What comes along with an image (an addend) is not the business of a head; see
`softvote.inference.network`.

Adding a head is adding one module with one class under `@register_head`. It imports torch where it computes:
a pipeline file is read without.
"""

from __future__ import annotations

from softvote.config.registry import import_modules
from softvote.heads.base import HEADS, Head, HeadSpec

__all__ = ["HEADS", "Head", "HeadSpec", "create_head"]

import_modules(__name__)


def create_head(name: str, spec: HeadSpec) -> Head:
    """Build the head of that name.

    Raises:
        ValueError: a head of digits, and K is not 9 S + 1.
    """
    return HEADS[name].create(spec)
