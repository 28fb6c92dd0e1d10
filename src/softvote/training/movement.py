"""Movements: rotation, zoom, shear, translation, an elastic grid and mirroring in one resampling."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from softvote.compute.draws import Rows, Seed, draw_uniforms

if TYPE_CHECKING:
    from softvote.config.augment import Augment


GRID = 4
"""Control points of the elastic grid a side."""


_AFFINE_COLUMNS = 6  # angle, zoom, shear, shift along x and y, flip


_ELASTIC_COLUMNS = 2 * GRID * GRID


def move(spec: Augment, images: Tensor, rows: Rows, seed: Seed) -> Tensor:
    """All images of a batch in one `grid_sample`: affine map and elastic grid composed.

    The elastic field is a 4 x 4 grid of random displacements, enlarged bicubically (after
    T. Doucet's MNIST ensemble).

    Args:
        images: float (B, C, H, W) in 0..255; what comes in is black.
        rows: int64 (B,).
    """
    # The zoom along y, where it is drawn apart, comes last: what others draw stays as it is.
    columns = _AFFINE_COLUMNS + _ELASTIC_COLUMNS + spec.scale_apart
    drawn = draw_uniforms(seed, rows, columns, images.device) * 2 - 1
    shape = list(images.shape)
    grid = affine_grid(_inverse_affine(spec, drawn, shape), shape)
    if spec.elastic:
        elastic = drawn[:, _AFFINE_COLUMNS : _AFFINE_COLUMNS + _ELASTIC_COLUMNS]
        grid += elastic_field(spec, elastic, shape)
    return functional.grid_sample(images, grid, align_corners=False)


def _inverse_affine(spec: Augment, drawn: Tensor, shape: list[int]) -> Tensor:
    """float (B, 2, 3): where each output pixel comes from, in coordinates of -1..1.

    `drawn` is float (B, >= 6) in -1..1; its last column is the zoom along y where that is drawn apart.
    """
    height, width = shape[-2:]
    angle, zoom, shear, shift_x, shift_y, flip = drawn[:, :_AFFINE_COLUMNS].unbind(1)
    angle = angle * math.radians(spec.rotate)
    slant = torch.tan(shear * math.radians(spec.shear))
    mirror = torch.where((flip + 1) / 2 < spec.horizontal_flip, -1.0, 1.0)
    zoom = 1 + zoom * spec.scale
    cos, sin = torch.cos(angle) / zoom, torch.sin(angle) / zoom
    if spec.scale_apart:
        zoom_y = 1 + drawn[:, -1] * spec.scale
        cos_y, sin_y = torch.cos(angle) / zoom_y, torch.sin(angle) / zoom_y
    else:
        cos_y, sin_y = cos, sin
    # Off-diagonal terms carry the aspect ratio, because both axes run from -1 to 1.
    top = torch.stack(
        [cos * mirror, (cos * slant - sin) * height / width, shift_x * 2 * spec.shift / width], 1
    )
    bottom = torch.stack(
        [sin_y * mirror * width / height, sin_y * slant + cos_y, shift_y * 2 * spec.shift / height], 1
    )
    return torch.stack([top, bottom], 1)


def affine_grid(maps: Tensor, shape: list[int]) -> Tensor:
    """float (B, 2, 3) -> float (B, H, W, 2), where pixels come from.

    On a CPU PyTorch's own takes ten times as long.
    """
    down, across = (_centres(side, maps.device) for side in shape[-2:])
    rows = maps[:, None, :, 1] * down[:, None] + maps[:, None, :, 2]
    columns = maps[:, None, :, 0] * across[:, None]
    return rows[:, :, None] + columns[:, None]


def _centres(side: int, device: torch.device) -> Tensor:
    """float (side,): the middles of pixels between -1 and 1."""
    return (2 * torch.arange(side, device=device) + 1) / side - 1


def elastic_field(spec: Augment, drawn: Tensor, shape: list[int]) -> Tensor:
    """float (B, H, W, 2): a smooth displacement of at most about `spec.elastic` pixels.

    Enlarging is linear and apart for rows and columns, so two small matrices do it.
    """
    height, width = shape[-2:]
    along_x, along_y = drawn.reshape(-1, 2, GRID, GRID).unbind(1)
    coarse = torch.stack([along_x * (2 * spec.elastic / width), along_y * (2 * spec.elastic / height)], 3)
    wide = torch.einsum("bijk,jw->biwk", coarse, _bicubic(width, drawn.device))
    field = _bicubic(height, drawn.device).T @ wide.flatten(2)
    return field.view(-1, height, width, 2)


def _bicubic(side: int, device: torch.device) -> Tensor:
    """float (4, side): what each control point adds to each pixel of a side."""
    points = torch.eye(GRID, device=device)[None, None]
    return functional.interpolate(points, size=(GRID, side), mode="bicubic", align_corners=True)[0, 0]
