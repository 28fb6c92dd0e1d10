"""softvote.compute.draws: the same numbers to the last bit, wherever they are drawn."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from softvote.compute.draws import SeedInMemory, derive, draw_uniforms
from softvote.seeds import derive_seed, uniforms

CPU = torch.device("cpu")
ROWS = np.concatenate([np.arange(300), [2**31, 2**40 + 7]])
SEEDS = [0, 1, 2**63 - 1, derive_seed("augment", 3), derive_seed("addends", 0)]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("columns", [1, 38])
def test_row_numbers_on_the_device_draw_the_same_bits(seed: int, columns: int) -> None:
    expected = torch.from_numpy(uniforms(seed, ROWS, columns))
    for given in (seed, SeedInMemory(seed, CPU)):
        drawn = draw_uniforms(given, torch.from_numpy(ROWS), columns, CPU)
        assert drawn.dtype == torch.float32 and torch.equal(drawn, expected)
    assert torch.equal(draw_uniforms(seed, ROWS, columns, CPU), expected)
    assert expected.min() >= 0 and expected.max() < 1 and 0.4 < expected.mean() < 0.6


def test_they_are_drawn_on_the_device() -> None:
    """Without a copy from the processor, which "meta" could not give back."""
    rows = torch.arange(5, device="meta")
    drawn = draw_uniforms(SeedInMemory(3, rows.device), rows, 7, rows.device)
    assert drawn.device.type == "meta" and drawn.shape == (5, 7)


def test_derived_seeds_follow_and_stay_in_their_memory() -> None:
    seed = SeedInMemory(5, CPU)
    view = derive(seed, "view")
    assert isinstance(view, SeedInMemory) and derive(seed, "view") is view
    places = (seed.memory.data_ptr(), view.memory.data_ptr())
    for value in (7, 2**63 - 1):
        seed.become(value)
        assert int(seed) == int(seed.memory) == value
        assert int(view) == int(view.memory) == derive(value, "view") == derive_seed(value, "view")
    assert places == (seed.memory.data_ptr(), view.memory.data_ptr())
    seed.memory.fill_(0)
    seed.become(2**63 - 1)  # it is that: nothing is written
    assert int(seed.memory) == 0
