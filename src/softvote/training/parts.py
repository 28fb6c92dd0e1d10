"""A batch in parts that are fed one after the other, or by several processes."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from softvote.compute.draws import Rows


def split_batch(which: Rows, parts: int) -> list[Rows]:
    """Split a batch into parts that mix the same pairs of images as the whole.

    What mixes images takes the first with the last, the second with the last but one, and so on. Each part
    therefore takes as many rows from the front of the batch as from its end; parts can be split again.

    Args:
        which: int64 (B,), positions in the data.
        parts: how many there are to be.

    Returns:
        as many as that, but none of one row, from which batch norm cannot learn: at most B / 2, at least one.
    """
    pairs = len(which) // 2
    parts = max(1, min(parts, pairs))
    cuts = [math.ceil(pairs * part / parts) for part in range(parts + 1)]  # the last, of the middle, is small
    return [_from_both_ends(which, *cut) for cut in pairwise(cuts)]


def micro_batches(which: Rows, most: int | None) -> list[Rows]:
    """Split a batch into parts of at most so many rows, as `split_batch` does; None leaves it whole.

    Of an odd number of rows one part may have one more.
    """
    if most is None or len(which) <= most:
        return [which]
    return split_batch(which, math.ceil(math.ceil(len(which) / 2) / (most // 2)))


def _from_both_ends(which: Rows, start: int, stop: int) -> Rows:
    """The pairs start..stop-1; the last of all with the row in the middle, if there is one."""
    if stop == len(which) // 2:
        return which[start : len(which) - start]
    front, back = which[start:stop], which[len(which) - stop : len(which) - start]
    if isinstance(front, Tensor) and isinstance(back, Tensor):
        return torch.cat([front, back])
    return np.concatenate([front, back])
