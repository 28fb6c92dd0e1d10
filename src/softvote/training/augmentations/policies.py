"""Policies that have nothing to tune: TrivialAugment and RandAugment.

Each image takes one of 14 operations a time. All are computed for all images, in three passes over a batch
(where pixels come from, mixtures of two images, tables of grey levels), because asking which images took
which would wait for the device.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from softvote.config.entries import AugmentationConfig
from softvote.config.schema import Strict
from softvote.errors import Problem
from softvote.training.augmentations.base import blend, each, grey, mean_of_each, register_augmentation

if TYPE_CHECKING:
    from torch import Tensor

OPERATIONS = (
    "identity", "shear_x", "shear_y", "translate_x", "translate_y", "rotate", "brightness", "color",
    "contrast", "sharpness", "posterize", "solarize", "autocontrast", "equalize",
)  # fmt: skip
"""What an image may take, by the names of torchvision."""


@dataclass(frozen=True)
class Ranges:
    """How far operations go at full strength.

    Attributes:
        shear: tangent of the angle.
        translate: proportion of the side.
        translate_pixels: what bounds that.
        rotate: degrees.
        blend: by how much the factor of brightness, color, contrast and sharpness differs from 1.
        bits: of eight that posterize drops.
    """

    shear: float
    translate: float
    translate_pixels: float
    rotate: float
    blend: float
    bits: int


WIDE = Ranges(shear=0.99, translate=0.45, translate_pixels=32, rotate=135, blend=0.99, bits=6)
"""Of TrivialAugment; 32 pixels, but no more than 0.45 of a side, which is in sight still."""


RANDOM = Ranges(shear=0.3, translate=150 / 331, translate_pixels=math.inf, rotate=30, blend=0.9, bits=4)
"""Of RandAugment."""


class RandAugment(Strict):
    """How many operations, and how strong."""

    operations: Annotated[int, Field(ge=1, le=14)] = 2
    """Number of operations each image takes, one after the other."""
    magnitude: Annotated[float, Field(ge=0, le=30)] = 9.0
    """Strength of each, no unit: 30 is as far as they go."""


@register_augmentation("policies", rank=40)
class Policies(AugmentationConfig):
    """Policies that have nothing to tune, or little."""

    trivial_augment: bool = False
    """Each image takes one of 14 operations of any strength (TrivialAugment Wide, Müller and Hutter 2021)."""
    rand_augment: RandAugment | None = None
    """Each image takes some of 14 operations of one strength (RandAugment, Cubuk et al. 2020); `{}` takes two
    of magnitude 9."""

    @property
    def columns(self) -> int:
        """Operation, strength and direction, each time."""
        return 3 * (self.rand_augment.operations if self.rand_augment else 1)

    def find_misfits(self, channels: int, height: int, width: int) -> Iterator[Problem]:
        """They are of grey images and of colour, and one is enough."""
        if self.trivial_augment and self.rand_augment:
            yield Problem("rand_augment", "goes without trivial_augment", "keep one")
        for key in ("trivial_augment", "rand_augment"):
            if getattr(self, key) and channels not in (1, 3):
                what = f"is for 1 or 3 channels, and these images have {channels}"
                yield Problem(key, what, "name brightness, contrast and movements instead")

    def apply(self, images: Tensor, drawn: Tensor) -> Tensor:
        """Draw operations and apply them."""
        import torch

        policy = self.rand_augment
        for start in range(0, self.columns, 3):
            chosen, strength, side = drawn[:, start : start + 3].unbind(1)
            if policy is not None:
                strength = torch.full_like(strength, policy.magnitude / 30)
            which = (chosen * len(OPERATIONS)).long()
            sign = torch.where(side < 0.5, -1.0, 1.0)
            images = apply_operations(images, which, strength, sign, RANDOM if policy else WIDE)
        return images


def apply_operations(images: Tensor, which: Tensor, strength: Tensor, sign: Tensor, ranges: Ranges) -> Tensor:
    """To each image, one operation.

    Args:
        images: float (B, C, H, W) in 0..255.
        which: int64 (B,), index of the operation.
        strength: float (B,) in 0..1.
        sign: float (B,), -1 or 1: the direction of those that have two.
        ranges: how far they go.
    """
    import torch

    moved = _move(images, which, strength * sign, ranges)
    mixed = _mix(images, which, 1 + strength * sign * ranges.blend)
    levels = _levels(images, which, strength, ranges)
    which = each(which)
    found = torch.where((which >= _index("shear_x")) & (which <= _index("rotate")), moved, images)
    found = torch.where((which >= _index("brightness")) & (which <= _index("sharpness")), mixed, found)
    return torch.where(which >= _index("posterize"), levels, found)


def _index(name: str) -> int:
    return OPERATIONS.index(name)


def _move(images: Tensor, which: Tensor, amount: Tensor, ranges: Ranges) -> Tensor:
    """Shear, translate and rotate, about the middle, black coming in."""
    import torch
    from torch.nn import functional

    from softvote.training.movement import affine_grid

    def of(name: str) -> Tensor:
        return torch.where(which == _index(name), amount, 0.0)

    height, width = images.shape[-2:]
    angle = of("rotate") * math.radians(ranges.rotate)
    cos, sin = torch.cos(angle), torch.sin(angle)
    shear_x, shear_y = of("shear_x") * ranges.shear, of("shear_y") * ranges.shear
    across = of("translate_x") * min(ranges.translate * width, ranges.translate_pixels)
    down = of("translate_y") * min(ranges.translate * height, ranges.translate_pixels)
    maps = torch.stack(
        [
            torch.stack([cos, (sin - shear_x) * height / width, -across * 2 / width], 1),
            torch.stack([(-sin - shear_y) * width / height, cos, -down * 2 / height], 1),
        ],
        1,
    )
    return functional.grid_sample(images, affine_grid(maps, list(images.shape)), align_corners=False)


def _mix(images: Tensor, which: Tensor, factor: Tensor) -> Tensor:
    """Brightness, color, contrast and sharpness: away from or towards black, grey, the mean, a soft copy."""
    import torch

    light, which = grey(images), each(which)
    others = torch.where(which == _index("color"), light, torch.zeros_like(images))
    others = torch.where(which == _index("contrast"), mean_of_each(light), others)
    others = torch.where(which == _index("sharpness"), _soften(images), others)
    return blend(images, others, factor)


def _soften(images: Tensor) -> Tensor:
    """Each pixel but those at the border as the mean of nine, of which it counts five times."""

    if min(images.shape[-2:]) < 3:
        return images
    rows = images[:, :, :-2] + images[:, :, 1:-1] + images[:, :, 2:]
    nine = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    soft = images.clone()
    soft[:, :, 1:-1, 1:-1] = (nine + 4 * images[:, :, 1:-1, 1:-1]) / 13
    return soft


def _levels(images: Tensor, which: Tensor, strength: Tensor, ranges: Ranges) -> Tensor:
    """Posterize, solarize, autocontrast and equalize, of whole grey levels."""
    import torch

    images, which = images.round(), each(which)
    step = torch.exp2((each(strength) * ranges.bits).round())
    found = torch.floor(images / step) * step
    threshold = 255 * (1 - each(strength))
    found = torch.where(
        which == _index("solarize"), torch.where(images >= threshold, 255 - images, images), found
    )
    found = torch.where(which == _index("autocontrast"), _stretch(images), found)
    return torch.where(which == _index("equalize"), _equalize(images), found)


def _stretch(images: Tensor) -> Tensor:
    """Each channel from 0 to 255; one of a single level stays."""
    import torch

    least, most = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    range_ = most - least
    return torch.where(range_ == 0, images, (images - least) * 255 / torch.where(range_ == 0, 1.0, range_))


def _equalize(images: Tensor) -> Tensor:
    """The grey levels of each channel made equally frequent, as Pillow does it."""
    import torch

    pixels = images.flatten(2).flatten(0, 1).long().clamp(0, 255)  # (B * C, H * W)
    counts = torch.zeros(len(pixels), 256, dtype=torch.long, device=images.device)
    counts.scatter_add_(1, pixels, torch.ones_like(pixels))
    last = torch.gather(counts, 1, pixels.amax(1, keepdim=True))
    step = torch.div(counts.sum(1, keepdim=True) - last, 255, rounding_mode="floor")
    below = counts.cumsum(1) - counts
    table = torch.div(below + step.div(2, rounding_mode="floor"), step.clamp_min(1), rounding_mode="floor")
    equal = torch.gather(table.clamp(0, 255), 1, pixels)
    return torch.where(step == 0, pixels, equal).to(images.dtype).view(images.shape)
