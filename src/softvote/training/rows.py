"""The rows a training sees."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from softvote.compute.device import to_device
from softvote.compute.draws import Rows
from softvote.training.glyphs import Glyphs


@dataclass(frozen=True)
class Split:
    """The rows one training sees.

    Attributes:
        images: uint8 (n, C, H, W); where a frozen backbone has seen them, its features float32 (n, F).
        values: int64 (n,), what each image shows: its class, less the addend where one comes along.
        rows: int64 (n,), row numbers in the train file; augmentation is drawn by them, on the device
            where they lie.
        digits: int64 (n, S), the hidden digits; -1 throughout a row where they are not known.
        glyphs: single digits from which images are composed that are fed in place of the rows' own.
    """

    images: Tensor
    values: Tensor
    rows: Rows
    digits: Tensor | None = None
    glyphs: Glyphs | None = None

    def take(self, which: Rows) -> Split:
        """Some of the rows, by position, int64 (B,) of the processor or on the device."""
        chosen = (
            which if isinstance(which, Tensor) else to_device(torch.from_numpy(which), self.images.device)
        )
        rows = self.rows[chosen] if isinstance(self.rows, Tensor) else self.rows[which]
        digits = None if self.digits is None else self.digits[chosen]
        return Split(self.images[chosen], self.values[chosen], rows, digits)

    def to(self, device: str) -> Split:
        """The same rows on a device; on one that computes apart from the processor, their numbers too."""
        digits = None if self.digits is None else self.digits.to(device)
        rows = torch.as_tensor(self.rows).to(device) if device == "cuda" else self.rows
        return Split(self.images.to(device), self.values.to(device), rows, digits)
