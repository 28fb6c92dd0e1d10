"""The uniform numbers of `softvote.seeds` on the device that needs them, to the same bits.

Where row numbers lie on an accelerator, numbers are drawn there: nothing is copied and nobody waits, and a
step that is recorded once draws anew each time it is replayed, because its seed is read from memory.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from softvote.compute.device import to_device
from softvote.seeds import derive_seed, uniforms

Rows = NDArray[np.int64] | Tensor
"""Row numbers int64 (B,), of the processor or on a device."""


class SeedInMemory:
    """A seed that is read on a device, from memory that stays where it is while the seed changes."""

    def __init__(self, value: int, device: torch.device) -> None:
        self.memory = torch.full((), value, dtype=torch.int64, device=device)
        self._value, self._derived = value, dict[str, SeedInMemory]()

    def __int__(self) -> int:
        return self._value

    def become(self, value: int) -> None:
        """Be that seed, and let those that were derived follow; what is unchanged is not written."""
        if value == self._value:
            return
        self._value = value
        self.memory.fill_(value)
        for what, seed in self._derived.items():
            seed.become(derive_seed(value, what))

    def derive(self, what: str) -> SeedInMemory:
        """The seed of a part of what this one is for."""
        if what not in self._derived:
            self._derived[what] = SeedInMemory(derive_seed(self._value, what), self.memory.device)
        return self._derived[what]


Seed = int | SeedInMemory
"""0..2**63-1."""

Augmenter = Callable[[Tensor, Rows, Seed], Tensor]
"""(images uint8 (B, C, H, W), rows int64 (B,), seed) -> float32 (B, C, H, W) in 0..255."""


def derive(seed: Seed, what: str) -> Seed:
    """The seed of a part of what another is for, in memory where that one is."""
    return seed.derive(what) if isinstance(seed, SeedInMemory) else derive_seed(seed, what)


def draw_uniforms(seed: Seed, rows: Rows, columns: int, device: torch.device) -> Tensor:
    """Draw what `uniforms` gives: float32 (B, columns) in [0, 1), on the device.

    Args:
        rows: on that device, or of the processor.
        columns: how many numbers each row needs.
    """
    if isinstance(rows, Tensor):
        return _split_mix(seed if isinstance(seed, int) else seed.memory, rows, columns)
    return to_device(torch.from_numpy(uniforms(int(seed), rows, columns)), device)


def _split_mix(seed: int | Tensor, rows: Tensor, columns: int) -> Tensor:
    """SplitMix64 in int64, whose sums and products wrap around just as those of uint64."""
    counter = rows[:, None] * columns + torch.arange(1, columns + 1, device=rows.device)
    z = counter * _to_signed(0x9E3779B97F4A7C15) + seed
    z = (z ^ _shift_right(z, 30)) * _to_signed(0xBF58476D1CE4E5B9)
    z = (z ^ _shift_right(z, 27)) * _to_signed(0x94D049BB133111EB)
    z = z ^ _shift_right(z, 31)
    return _shift_right(z, 40).float() / (1 << 24)


def _to_signed(word: int) -> int:
    """The int64 of the same 64 bits."""
    return word - (1 << 64) if word >> 63 else word


def _shift_right(words: Tensor, bits: int) -> Tensor:
    """Shifted right, zeros coming in."""
    return (words >> bits) & ((1 << (64 - bits)) - 1)
