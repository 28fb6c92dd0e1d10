"""Brightness, contrast, saturation and hue."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from softvote.config.entries import AugmentationConfig
from softvote.config.schema import Fraction
from softvote.errors import Problem
from softvote.training.augmentations.base import blend, each, grey, mean_of_each, register_augmentation

if TYPE_CHECKING:
    from torch import Tensor


@register_augmentation("colour", rank=50)
class Colour(AugmentationConfig):
    """Light and colour, as torchvision's ColorJitter changes them, in the order in which they stand here."""

    brightness: Fraction = 0.0
    """Largest change of brightness in either direction, as a proportion: 0.2 multiplies by factors from 0.8
    to 1.2."""
    contrast: Fraction = 0.0
    """Largest change of contrast in either direction, as a proportion: all grey levels move away from or
    towards the image's mean, by factors from 0.8 to 1.2 for 0.2."""
    saturation: Fraction = 0.0
    """Largest change of saturation in either direction, as a proportion: colours move away from or towards
    grey; for images of three channels."""
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Largest change of hue in either direction, as a proportion of the colour circle; for images of three
    channels."""
    grayscale: Fraction = 0.0
    """Probability that an image loses its colours; for images of three channels."""

    @property
    def columns(self) -> int:
        """One a key."""
        return 5

    def find_misfits(self, channels: int, height: int, width: int) -> Iterator[Problem]:
        """Only three channels have a colour."""
        for key in ("saturation", "hue", "grayscale"):
            if getattr(self, key) and channels != 3:
                yield Problem(key, f"is for 3 channels, and these images have {channels}", "leave it out")

    def apply(self, images: Tensor, drawn: Tensor) -> Tensor:
        """Change one after the other; what has no amount is left out."""
        import torch

        either = drawn * 2 - 1
        if self.brightness:
            images = adjust_brightness(images, 1 + either[:, 0] * self.brightness)
        if self.contrast:
            images = adjust_contrast(images, 1 + either[:, 1] * self.contrast)
        if self.saturation:
            images = adjust_saturation(images, 1 + either[:, 2] * self.saturation)
        if self.hue:
            images = adjust_hue(images, either[:, 3] * self.hue)
        if self.grayscale:
            images = torch.where(each(drawn[:, 4] < self.grayscale), grey(images), images)
        return images


def adjust_brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Grey levels of images (B, C, H, W) times a factor (B,), within 0..255."""
    return (images * each(factor)).clamp(0, 255)


def adjust_contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Images (B, C, H, W), what differs from the mean of each times a factor (B,), within 0..255."""
    return blend(images, mean_of_each(grey(images)), factor)


def adjust_saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Images (B, C, H, W), with what differs from their grey times a factor (B,), within 0..255."""
    return blend(images, grey(images), factor)


def adjust_hue(images: Tensor, shift: Tensor) -> Tensor:
    """Hues moved around the colour circle, in HSV (Smith 1978).

    Args:
        images: float (B, 3, H, W) in 0..255.
        shift: float (B,), of the circle, -1..1.
    """
    import torch

    red, green, blue = images[:, 0:1], images[:, 1:2], images[:, 2:3]
    most, least = images.amax(1, keepdim=True), images.amin(1, keepdim=True)
    range_ = most - least
    chroma = torch.where(range_ == 0, 1.0, range_)  # a grey has no hue
    hue = torch.where(
        most == red,
        (green - blue) / chroma,
        torch.where(most == green, 2 + (blue - red) / chroma, 4 + (red - green) / chroma),
    )
    hue = hue + each(shift) * 6
    channels = []
    for offset in (5, 3, 1):
        sixth = torch.remainder(hue + offset, 6)
        channels.append(most - range_ * torch.minimum(sixth, 4 - sixth).clamp(0, 1))
    return torch.cat(channels, 1)
