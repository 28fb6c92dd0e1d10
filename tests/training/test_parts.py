"""training.parts: a batch in parts keeps every row and every pair that is mixed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from softvote.training.parts import micro_batches, split_batch


@pytest.mark.parametrize("rows", range(2, 24))
@pytest.mark.parametrize("parts", [1, 2, 3, 5])
def test_parts_hold_each_row_once_and_the_pairs_of_the_whole(rows: int, parts: int) -> None:
    which = np.random.default_rng(0).permutation(100)[:rows]
    found = split_batch(which, parts)
    assert sorted(np.concatenate(found)) == sorted(which)
    assert len(found) == max(1, min(parts, rows // 2)) and min(map(len, found)) >= 2
    pairs = dict(zip(which.tolist(), which[::-1].tolist(), strict=True))
    for part in found:
        assert [pairs[row] for row in part.tolist()] == part[::-1].tolist()
        assert all(
            [pairs[row] for row in again.tolist()] == again[::-1].tolist() for again in split_batch(part, 2)
        )


@pytest.mark.parametrize("rows", range(2, 24))
@pytest.mark.parametrize("most", [2, 3, 4, 7, 16, 100])
def test_micro_batches_are_no_larger_than_they_may_be(rows: int, most: int) -> None:
    sizes = [len(part) for part in micro_batches(np.arange(rows), most)]
    assert sum(sizes) == rows and max(sizes) <= most + rows % 2
    assert max(sizes) - min(sizes) <= 2


@pytest.mark.parametrize("which", [np.arange(5), torch.arange(5)])
def test_a_batch_that_is_small_enough_stays_as_it_is(which: Any) -> None:
    assert micro_batches(which, None)[0] is which and micro_batches(which, 5)[0] is which
    assert all(type(part) is type(which) for part in micro_batches(which, 2))
