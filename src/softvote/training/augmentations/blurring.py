"""Out of focus."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from softvote.config.entries import AugmentationConfig
from softvote.config.schema import NonNegative
from softvote.training.augmentations.base import each, register_augmentation

if TYPE_CHECKING:
    from torch import Tensor

_SHARPEST = 1e-3  # pixels; what is narrower changes nothing


@register_augmentation("blurring", rank=60)
class Blurring(AugmentationConfig):
    """Out of focus."""

    blur: NonNegative = 0.0
    """Largest standard deviation of the Gaussian that blurs an image, in pixels; each draws its own from 0 to
    this."""

    @property
    def columns(self) -> int:
        """The standard deviation."""
        return 1

    def apply(self, images: Tensor, drawn: Tensor) -> Tensor:
        """Blur each image by its own Gaussian."""
        return blur_gaussian(images, drawn[:, 0] * self.blur, math.ceil(3 * self.blur))


def blur_gaussian(images: Tensor, sigma: Tensor, radius: int) -> Tensor:
    """Images blurred by Gaussians of their own; beyond its borders an image is mirrored.

    Args:
        images: float (B, C, H, W).
        sigma: float (B,), standard deviations in pixels.
        radius: up to how many pixels away the Gaussian is summed.
    """
    import torch
    from torch.nn import functional

    for axis in (-1, -2):
        reach = min(radius, images.shape[axis] - 1)
        offsets = torch.arange(-reach, reach + 1, device=images.device)
        weights = torch.exp(-0.5 * (offsets / sigma.clamp_min(_SHARPEST)[:, None]) ** 2)
        weights = weights / weights.sum(1, keepdim=True)
        padding = (reach, reach, 0, 0) if axis == -1 else (0, 0, reach, reach)
        wide, side = functional.pad(images, padding, mode="reflect"), images.shape[axis]
        blurred = torch.zeros_like(images)
        for tap in range(2 * reach + 1):  # a convolution would round by how many images there are
            blurred = blurred + each(weights[:, tap]) * wide.narrow(axis, tap, side)
        images = blurred
    return images
