"""A part of the image hidden."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from softvote.config.entries import AugmentationConfig
from softvote.config.schema import Fraction
from softvote.training.augmentations.base import each, register_augmentation

if TYPE_CHECKING:
    from torch import Tensor

_AREA = (0.02, 1 / 3)
_RATIO = (0.3, 1 / 0.3)


@register_augmentation("erasing", rank=70)
class Erasing(AugmentationConfig):
    """A part of the image hidden, so that no single part suffices."""

    erasing: Fraction = 0.0
    """Probability that a rectangle of 2 to 33 % of an image is hidden behind the image's mean colour (Zhong
    et al. 2020)."""

    @property
    def columns(self) -> int:
        """Whether, area, ratio, place along x and along y."""
        return 5

    def apply(self, images: Tensor, drawn: Tensor) -> Tensor:
        """Draw rectangles and fill them."""
        import torch

        height, width = images.shape[-2:]
        area = (_AREA[0] + drawn[:, 1] * (_AREA[1] - _AREA[0])) * height * width
        lowest, highest = math.log(_RATIO[0]), math.log(_RATIO[1])
        ratio = torch.exp(lowest + drawn[:, 2] * (highest - lowest))
        wide = (area * ratio).sqrt().round().clamp(1, width)
        high = (area / ratio).sqrt().round().clamp(1, height)
        left = torch.floor(drawn[:, 3] * (width - wide + 1))
        top = torch.floor(drawn[:, 4] * (height - high + 1))
        inside = _inside(left, wide, width)[:, None, None, :] & _inside(top, high, height)[:, None, :, None]
        hidden = inside & each(drawn[:, 0] < self.erasing)
        return torch.where(hidden, images.mean((2, 3), keepdim=True), images)


def _inside(start: Tensor, length: Tensor, side: int) -> Tensor:
    """bool (B, side): which pixels of a side lie within a stretch that starts somewhere, both (B,)."""
    import torch

    pixels = torch.arange(side, device=start.device)
    return (pixels >= start[:, None]) & (pixels < (start + length)[:, None])
