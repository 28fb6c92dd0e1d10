"""Every random number comes from here: a pure function of what it is for, never of what ran before.

So any fold, epoch or image can be drawn again alone and gives the same numbers.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def derive_seed(*parts: object) -> int:
    """A seed in 0..2**63-1 from any parts whose `repr` is stable, such as names and numbers."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def training_seed(pipeline_seed: int, member: str, fold: int, repeat: int = 0) -> int:
    """The seed of one training; the first repeat's is that of a member without any."""
    return derive_seed(pipeline_seed, member, fold, *([repeat] if repeat else []))


def augmentation_seed(training_seed: int, epoch: int) -> int:
    """The seed of all that augmentation does in one epoch (counted from 0)."""
    return derive_seed(training_seed, "augment", epoch)


def uniforms(seed: int, rows: NDArray[np.int64], columns: int) -> NDArray[np.float32]:
    """Uniform numbers in [0, 1), one line per row, that depend on `seed` and the row's number alone.

    SplitMix64 (Steele, Lea and Flood 2014) used as a counter-based generator.

    Args:
        rows: int64 (B,), non-negative row numbers.
        columns: how many numbers each row needs.

    Returns:
        float32 (B, columns).
    """
    with np.errstate(over="ignore"):
        counter = rows.astype(np.uint64)[:, None] * np.uint64(columns)
        counter = counter + np.arange(columns, dtype=np.uint64)[None, :]
        z = np.uint64(seed) + (counter + np.uint64(1)) * _GOLDEN
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(40)).astype(np.float32) / np.float32(1 << 24)
