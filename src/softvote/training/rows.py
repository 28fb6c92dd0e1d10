"""The rows a training sees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from softvote.compute.device import to_device
from softvote.compute.draws import Rows
from softvote.data.split import ImageSplit
from softvote.training.glyphs import Glyphs

_APART = 1 << 32  # between the numbers of a row and of its next time in an epoch; more than there are rows


@dataclass(frozen=True)
class Split:
    """The rows one training sees.

    Attributes:
        images: uint8 (n, C, H, W); where a frozen backbone has seen them, its features float32 (n, F).
        image_labels: int64 (n,), what each image shows: its class, less the addend where one comes along; of
            tags (n, K), of several targets (n, T).
        rows: int64 (n,), row numbers in the train file; augmentation is drawn by them, on the device
            where they lie.
        digits: int64 (n, S), the hidden digits; -1 throughout a row where they are not known.
        glyphs: single digits from which images are composed that are fed in place of the rows' own.
        resampled: whether a position may come several times, as `draw_balanced` gives it.
    """

    images: Tensor
    image_labels: Tensor
    rows: Rows
    digits: Tensor | None = None
    glyphs: Glyphs | None = None
    resampled: bool = False

    @classmethod
    def of(cls, images: ImageSplit, rows: NDArray[np.int64]) -> Split:
        """Labelled images by their row numbers, int64 (n,)."""
        chosen = images.take(rows)
        return cls(torch.from_numpy(chosen.images), torch.from_numpy(chosen.image_labels), rows)

    def take(self, which: Rows) -> Split:
        """Some of the rows, by position, int64 (B,) of the processor or on the device.

        Of resampled rows, each time that one comes it has another row number, so that it is augmented anew.
        """
        times: Rows | int = 0
        if self.resampled:
            which, times = which % len(self.rows), which // len(self.rows)
        chosen = (
            which if isinstance(which, Tensor) else to_device(torch.from_numpy(which), self.images.device)
        )
        rows = self.rows[chosen] if isinstance(self.rows, Tensor) else self.rows[which]
        if self.resampled:
            rows = rows + times * _APART
        digits = None if self.digits is None else self.digits[chosen]
        return Split(self.images[chosen], self.image_labels[chosen], rows, digits)

    def to(self, device: str) -> Split:
        """The same rows on a device; on one that computes apart from the processor, their numbers too."""
        digits = None if self.digits is None else self.digits.to(device)
        rows = torch.as_tensor(self.rows).to(device) if device == "cuda" else self.rows
        return Split(self.images.to(device), self.image_labels.to(device), rows, digits)
