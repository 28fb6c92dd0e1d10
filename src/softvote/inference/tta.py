"""Test-time augmentation: several views of an image."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from softvote.errors import UserError


def shift_images(images: Tensor, pixels: int) -> list[Tensor]:
    """The images as they are and moved by `pixels` up, down, left and right, black coming in.

    Args:
        images: any dtype (B, C, H, W).

    Returns:
        five tensors of that shape, or just the images where `pixels` is 0.

    Raises:
        UserError: the shift would move the whole image out.
    """
    if pixels == 0:
        return [images]
    height, width = images.shape[-2:]
    if pixels >= min(height, width):
        raise UserError.at(
            "tta.shift", f"{pixels} moves images of {height} x {width} out of sight", "use 1 or 2"
        )
    padded = functional.pad(images, (pixels,) * 4)
    offsets = [(pixels, pixels), (0, pixels), (2 * pixels, pixels), (pixels, 0), (pixels, 2 * pixels)]
    return [padded[:, :, top : top + height, left : left + width] for top, left in offsets]
