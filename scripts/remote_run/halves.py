"""Probabilities in half precision, three digits of what is likely and of what is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from remote_run.contents import RemoteError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SCALE = 2.0**16
"""Of half-precision probabilities: their smallest is then 1e-9, and one half still goes in."""


def halve(probabilities: NDArray[np.float32]) -> NDArray[np.float16]:
    """float32 (N, K), rows that sum to 1 -> float16 (N, K), of which `double` makes them again.

    The largest of a row is left out (it is -1), for it is what the others leave: near 1 half precision has
    three digits only, and of the others it keeps three digits each.
    """
    import numpy as np

    if np.abs(probabilities.sum(axis=1) - 1).max(initial=0) > 1e-3:
        raise RemoteError("probabilities whose rows do not sum to 1 cannot be brought in half precision")
    others = probabilities * np.float32(SCALE)
    if len(others):
        np.put_along_axis(others, probabilities.argmax(axis=1)[:, None], -1, axis=1)
    return others.astype(np.float16)


def double(halved: NDArray[np.float16]) -> NDArray[np.float32]:
    """What `halve` was given, float32 (N, K), to within 0.0005 of each but the largest."""
    import numpy as np

    others = halved.astype(np.float64)
    largest = others < 0
    others = np.where(largest, 0, others / SCALE)
    if not len(others):
        return others.astype(np.float32)
    rest = 1 - others.sum(axis=1, keepdims=True)
    rest = np.maximum(rest, others.max(axis=1, keepdims=True) * (1 + 1e-6))  # it stays the largest
    found = np.where(largest, rest, others)
    return found.astype(np.float32)
