"""Test-time augmentation: several views of an image.

A view is the image itself or one of those that `shift` and `five_crops` put beside it, as it is and in every
symmetry that flips and turns make of it. Adding a key to `softvote.config.views.TestTime` is adding a
function here, under `_positions` or `_symmetry`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from softvote.config.views import TestTime
from softvote.errors import UserError

_POSITIONS: dict[str, Callable[[Tensor, Any], list[Tensor]]] = {}


_SYMMETRIES: dict[str, Callable[[Tensor], list[Tensor]]] = {}


def _positions(function: Callable[[Tensor, Any], list[Tensor]]) -> Callable[[Tensor, Any], list[Tensor]]:
    """Register a function of images and of what its key says, which gives views beside the images."""
    _POSITIONS[function.__name__] = function
    return function


def _symmetry(function: Callable[[Tensor], list[Tensor]]) -> Callable[[Tensor], list[Tensor]]:
    """Register a function of images, which gives further views where its key is true."""
    _SYMMETRIES[function.__name__] = function
    return function


def create_views(images: Tensor, spec: TestTime) -> list[Tensor]:
    """All views of images, themselves first, by tensors alone, so that they can be traced.

    Args:
        images: uint8 or float (B, C, H, W).

    Returns:
        `spec.count` tensors of that shape, float where they are interpolated.

    Raises:
        UserError: images that it is not for.
    """
    channels, height, width = images.shape[1:]
    problems = list(spec.find_misfits(int(channels), int(height), int(width)))
    if problems:
        raise UserError(*(replace(problem, where=f"tta.{problem.where}") for problem in problems))
    views = [images]
    for name, function in _POSITIONS.items():
        if amount := getattr(spec, name):
            views += function(images, amount)
    for name, turn in _SYMMETRIES.items():
        # A turn and a flip make the other flip.
        if getattr(spec, name) and not (name == "vertical_flip" and len(views) == spec.count):
            views += [turned for view in views for turned in turn(view)]
    return views


@_positions
def shift(images: Tensor, pixels: int) -> list[Tensor]:
    """The images (B, C, H, W) moved by so many pixels down, up, right and left, black coming in."""
    height, width = images.shape[-2:]
    padded = functional.pad(images, (pixels,) * 4)
    offsets = [(0, pixels), (2 * pixels, pixels), (pixels, 0), (pixels, 2 * pixels)]
    return [padded[:, :, top : top + height, left : left + width] for top, left in offsets]


@_positions
def five_crops(images: Tensor, proportion: float) -> list[Tensor]:
    """Four corners and the middle of images (B, C, H, W), of so much of each side, enlarged to it; float."""
    height, width = (int(side) for side in images.shape[-2:])
    high, wide = max(1, round(height * proportion)), max(1, round(width * proportion))
    down, right = height - high, width - wide
    corners = [(0, 0), (0, right), (down, 0), (down, right), (down // 2, right // 2)]
    return [
        functional.interpolate(
            images[:, :, top : top + high, left : left + wide].float(),
            size=(height, width), mode="bilinear", align_corners=False,
        )
        for top, left in corners
    ]  # fmt: skip


@_symmetry
def horizontal_flip(images: Tensor) -> list[Tensor]:
    """Images (B, C, H, W), mirrored left to right."""
    return [images.flip(-1)]


@_symmetry
def quarter_turns(images: Tensor) -> list[Tensor]:
    """Images (B, C, H, W), turned by 90, 180 and 270 degrees."""
    return [torch.rot90(images, count, (-2, -1)) for count in (1, 2, 3)]


@_symmetry
def vertical_flip(images: Tensor) -> list[Tensor]:
    """Images (B, C, H, W), mirrored top to bottom."""
    return [images.flip(-2)]
