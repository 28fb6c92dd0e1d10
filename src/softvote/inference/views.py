"""Views: how a network sees an image, in training and prediction alike.

A view works on whole batches of grey levels on the device, after augmentation and before normalisation, and
takes what is dark for background. Members with other views see other inputs, and vote better together for it
(Ciresan et al. 2012). Adding a view is adding its keys to `softvote.config.views` and one function here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from softvote.compute.draws import Rows, Seed, derive, draw_uniforms

if TYPE_CHECKING:
    from softvote.compute.draws import Augmenter
    from softvote.config.views import Box, Crop, Deskew, View


# (specification, images float (B, C, H, W) in 0..255, drawn float (B or 1, 2) in 0..1) -> the same shape
ViewFunction = Callable[[Any, Tensor, Tensor], Tensor]


_INK = 25.5  # a tenth of white: what is darker is background


_STEEPEST = 1.0  # columns per row that deskewing moves at most; beyond 45 degrees it is not a slant


@dataclass(frozen=True)
class _RegisteredView:
    function: ViewFunction
    is_random: bool


VIEWS: dict[str, _RegisteredView] = {}


def _view(is_random: bool = False) -> Callable[[ViewFunction], ViewFunction]:
    """Register a function as the view of its name; a random one is drawn for each image in training."""

    def register(function: ViewFunction) -> ViewFunction:
        VIEWS[function.__name__] = _RegisteredView(function, is_random)
        return function

    return register


def is_random(spec: View | None) -> bool:
    """Whether training sees other views of an image than prediction does."""
    return spec is not None and VIEWS[spec.name].is_random


def apply_view(spec: View | None, images: Tensor, drawn: Tensor | None = None) -> Tensor:
    """What a network sees of images, by tensors alone, so that it can be traced.

    Args:
        images: float (B, C, H, W) in 0..255.
        drawn: float (B, 2) in 0..1, what is random in training; if omitted, the middle is taken, as in
            prediction.

    Returns:
        float (B, C, H, W); the images themselves where there is none.
    """
    if spec is None:
        return images
    middle = torch.full((1, 2), 0.5, device=images.device)
    return VIEWS[spec.name].function(spec, images, middle if drawn is None else drawn)


def with_view(augment: Augmenter, spec: View | None, at_random: bool) -> Augmenter:
    """An augmenter, and the view of what it gives.

    What is random in an image's view depends on the seed (which holds the epoch) and the image's row alone.

    Args:
        at_random: whether a random view is drawn; else it is the one of prediction.
    """
    draws = at_random and is_random(spec)

    def augment_then_view(images: Tensor, rows: Rows, seed: Seed) -> Tensor:
        drawn = draw_uniforms(derive(seed, "view"), rows, 2, images.device) if draws else None
        return apply_view(spec, augment(images, rows, seed), drawn)

    return augment_then_view


@_view(is_random=True)
def crop(spec: Crop, images: Tensor, drawn: Tensor) -> Tensor:
    """A part of each image enlarged to the whole, as T. Doucet's MNIST ensemble crops.

    Args:
        images: float (B, C, H, W).
        drawn: floats (B, 2) in 0..1, where in the room that is left it begins, along x and y; it does so at
            any fraction of a pixel.
    """
    share = spec.size / min(images.shape[-2:])
    across, down = (
        _resampling(share * (_middles(side, images) + 0.5) + start[:, None] * side * (1 - share) - 0.5, side)
        for side, start in zip((images.shape[-1], images.shape[-2]), drawn.unbind(1), strict=True)
    )
    return down[:, None] @ images @ across[:, None].transpose(-1, -2)


@_view()
def deskew(spec: Deskew, images: Tensor, drawn: Tensor) -> Tensor:
    """Each image sheared along x, about its centre of mass, until its second moments do not lean.

    Args:
        images: float (B, C, H, W).
        drawn: nothing that it needs.
    """
    height, width = images.shape[-2:]
    mass = images.mean(1)
    mass = mass / mass.sum((1, 2), keepdim=True).clamp_min(1.0)
    x, y = (_middles(side, images) - (side - 1) / 2 for side in (width, height))
    middle_x, middle_y = (mass.sum(1) * x).sum(1), (mass.sum(2) * y).sum(1)
    with_itself = (mass.sum(2) * y * y).sum(1) - middle_y * middle_y
    with_x = (((mass * x).sum(2)) * y).sum(1) - middle_x * middle_y
    slant = (with_x / with_itself.clamp_min(1e-6)).clamp(-_STEEPEST, _STEEPEST)
    moved = slant[:, None] * (y - middle_y[:, None])  # columns, (B, H)
    from_x = (x + moved[:, :, None]) * (2 / width)
    from_y = (y * (2 / height))[:, None].expand_as(from_x)
    return functional.grid_sample(images, torch.stack([from_x, from_y], 3), align_corners=False)


@_view()
def box(spec: Box, images: Tensor, drawn: Tensor) -> Tensor:
    """The columns that hold more than background stretched to a width (Ciresan et al. 2012, MCDNN).

    Args:
        images: float (B, C, H, W).
        drawn: nothing that it needs.
    """
    width = images.shape[-1]
    columns, index = images.amax((1, 2)) > _INK, _middles(width, images)
    first = torch.where(columns, index, width).amin(1)
    last = torch.where(columns, index, -1).amax(1)
    blank = last < first
    share = torch.where(blank, 1.0, (last - first + 1) / spec.width)
    middle = torch.where(blank, (width - 1) / 2, (first + last) / 2)
    across = _resampling(share[:, None] * (index - (width - 1) / 2) + middle[:, None], width)
    return images @ across[:, None].transpose(-1, -2)


def _middles(side: int, like: Tensor) -> Tensor:
    """float (side,): 0, 1, ... on the device of another tensor."""
    return torch.arange(side, device=like.device, dtype=torch.float32)


def _resampling(positions: Tensor, side: int) -> Tensor:
    """float (B, n) positions along a side, in pixels from the middle of the first -> float (B, n, side).

    What each pixel adds there by linear interpolation; outside all is black.
    """
    away = positions[:, :, None] - _middles(side, positions)
    return (1 - away.abs()).clamp_min(0)
