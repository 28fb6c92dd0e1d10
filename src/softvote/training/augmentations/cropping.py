"""A random part of the image, enlarged to the whole."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, model_validator

from softvote.config.entries import AugmentationConfig
from softvote.config.schema import ConfigError, Strict
from softvote.training.augmentations.base import register_augmentation

if TYPE_CHECKING:
    from torch import Tensor

_Ratio = Annotated[float, Field(gt=0, le=100)]
_Share = Annotated[float, Field(gt=0, le=1)]


class RandomResizedCrop(Strict):
    """Which part of the image is enlarged to the whole (Szegedy et al. 2015)."""

    scale: tuple[_Share, _Share] = (0.08, 1.0)
    """Least and largest area of the part, as a proportion of the image's."""
    ratio: tuple[_Ratio, _Ratio] = (3 / 4, 4 / 3)
    """Least and largest width over height of the part, as a factor on the image's own, by which its content
    is squeezed or stretched."""

    @model_validator(mode="after")
    def _in_order(self) -> RandomResizedCrop:
        for key in ("scale", "ratio"):
            least, largest = getattr(self, key)
            if least > largest:
                raise ConfigError.at(key, f"{least:g} is more than {largest:g}", "write the least first")
        return self


@register_augmentation("random_resized_crop", rank=20)
class Cropping(AugmentationConfig):
    """A random part of the image, enlarged to the whole."""

    before_movement: ClassVar[bool] = True

    random_resized_crop: RandomResizedCrop | None = None
    """A random part of the image is enlarged to the whole; `{}` takes 0.08 to 1 of its area, as torchvision
    does, and `{scale: [0.35, 1]}` is milder."""

    @property
    def columns(self) -> int:
        """Area, ratio, place along x and along y."""
        return 4

    def apply(self, images: Tensor, drawn: Tensor) -> Tensor:
        """Draw parts and enlarge them; where one would stick out of the image, its side is the image's."""
        import torch

        spec = self.random_resized_crop
        assert spec is not None
        area = spec.scale[0] + drawn[:, 0] * (spec.scale[1] - spec.scale[0])
        lowest, highest = math.log(spec.ratio[0]), math.log(spec.ratio[1])
        stretch = torch.exp((lowest + drawn[:, 1] * (highest - lowest)) / 2)
        sides = torch.stack([area.sqrt() * stretch, area.sqrt() / stretch], 1).clamp(max=1)
        size = torch.stack([sides[:, 0] * images.shape[-1], sides[:, 1] * images.shape[-2]], 1)
        start = torch.stack(
            [
                drawn[:, 2] * (1 - sides[:, 0]) * images.shape[-1],
                drawn[:, 3] * (1 - sides[:, 1]) * images.shape[-2],
            ],
            1,
        )
        return enlarge(images, start, size)


def enlarge(images: Tensor, start: Tensor, size: Tensor) -> Tensor:
    """Parts of images enlarged to the whole by bilinear interpolation.

    Args:
        images: float (B, C, H, W).
        start: float (B, 2), x and y of the parts' upper left corners, in pixels.
        size: float (B, 2), their widths and heights.
    """
    import torch
    from torch.nn import functional

    grids = []
    for axis, side in ((0, images.shape[-1]), (1, images.shape[-2])):
        step = size[:, axis, None] / side
        first = start[:, axis, None]
        centres = torch.arange(side, device=images.device) + 0.5
        # Beyond the middles of its outermost pixels, a part goes on as it ends.
        last = first + (size[:, axis, None] - 1).clamp_min(0)
        pixels = torch.minimum(torch.maximum(first + centres * step - 0.5, first), last)
        grids.append((2 * pixels + 1) / side - 1)
    shape = (len(images), images.shape[-2], images.shape[-1])
    grid = torch.stack([grids[0][:, None, :].expand(shape), grids[1][:, :, None].expand(shape)], 3)
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
