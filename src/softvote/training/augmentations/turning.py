"""Mirrored top to bottom and turned by right angles, pixel by pixel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from softvote.config.entries import AugmentationConfig
from softvote.config.schema import Fraction
from softvote.errors import Problem
from softvote.training.augmentations.base import each, register_augmentation

if TYPE_CHECKING:
    from torch import Tensor


@register_augmentation("turning", rank=30)
class Turning(AugmentationConfig):
    """Images whose up is anywhere, as from above, through a microscope or of space."""

    vertical_flip: Fraction = 0.0
    """Probability that an image is mirrored top to bottom."""
    quarter_turns: bool = False
    """Each image is turned by 0, 90, 180 or 270 degrees, all equally often; for square images."""

    @property
    def columns(self) -> int:
        """Flip, turn."""
        return 2

    def find_misfits(self, channels: int, height: int, width: int) -> Iterator[Problem]:
        """Turns by 90 degrees want square images."""
        if self.quarter_turns and height != width:
            what = f"turns square images, and these are {height} x {width}"
            yield Problem("quarter_turns", what, "use vertical_flip and horizontal_flip")

    def apply(self, images: Tensor, drawn: Tensor) -> Tensor:
        """Mirror, then turn."""
        import torch

        if self.vertical_flip:
            images = torch.where(each(drawn[:, 0] < self.vertical_flip), images.flip(-2), images)
        if self.quarter_turns:
            turns, upright = each((drawn[:, 1] * 4).long()), images
            for count in (1, 2, 3):
                images = torch.where(turns == count, torch.rot90(upright, count, (-2, -1)), images)
        return images
