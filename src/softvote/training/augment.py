"""Augmentation: one specification, two engines.

`augment_in_batches` draws and applies everything to a whole batch at once on the training device;
`albumentations` treats image by image with the library of that name. In both, what happens to an
image depends on the seed (which holds the epoch) and the image's row number alone: not on the
batch it came in, nor on how many workers there are.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from softvote.compute.draws import Augmenter, Rows, Seed, draw_uniforms
from softvote.seeds import derive_seed

if TYPE_CHECKING:
    from softvote.config.augment import Augment


_GRID = 4  # control points of the elastic grid a side


_AFFINE_COLUMNS = 6  # angle, zoom, shear, shift along x and y, flip


_ELASTIC_COLUMNS = 2 * _GRID * _GRID


def create_augmenter(spec: Augment | None) -> Augmenter:
    """The augmentation of a specification; without one, images pass as they are.

    Returns:
        a function of images uint8 (B, C, H, W), their row numbers int64 (B,) and a seed, giving
        float32 (B, C, H, W) in 0..255 on the device of the images.
    """
    if spec is None:
        return lambda images, rows, seed: images.float()
    return ENGINES[spec.engine](spec)


def augment_in_batches(spec: Augment) -> Augmenter:
    """All images of a batch in one `grid_sample`: affine map and elastic grid composed.

    The elastic field is a 4 x 4 grid of random displacements, enlarged bicubically (after
    T. Doucet's MNIST ensemble).
    """

    def augment(images: Tensor, rows: Rows, seed: Seed) -> Tensor:
        # The zoom along y, where it is drawn apart, comes last: what others draw stays as it is.
        columns = _AFFINE_COLUMNS + _ELASTIC_COLUMNS + spec.scale_apart
        drawn = draw_uniforms(seed, rows, columns, images.device) * 2 - 1
        shape = list(images.shape)
        grid = _affine_grid(_inverse_affine(spec, drawn, shape), shape)
        if spec.elastic:
            elastic = drawn[:, _AFFINE_COLUMNS : _AFFINE_COLUMNS + _ELASTIC_COLUMNS]
            grid += _elastic_field(spec, elastic, shape)
        return functional.grid_sample(images.float(), grid, align_corners=False)

    return augment


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


def _affine_grid(maps: Tensor, shape: list[int]) -> Tensor:
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


def _elastic_field(spec: Augment, drawn: Tensor, shape: list[int]) -> Tensor:
    """float (B, H, W, 2): a smooth displacement of at most about `spec.elastic` pixels.

    Enlarging is linear and apart for rows and columns, so two small matrices do it.
    """
    height, width = shape[-2:]
    along_x, along_y = drawn.reshape(-1, 2, _GRID, _GRID).unbind(1)
    coarse = torch.stack([along_x * (2 * spec.elastic / width), along_y * (2 * spec.elastic / height)], 3)
    wide = torch.einsum("bijk,jw->biwk", coarse, _bicubic(width, drawn.device))
    field = _bicubic(height, drawn.device).T @ wide.flatten(2)
    return field.view(-1, height, width, 2)


def _bicubic(side: int, device: torch.device) -> Tensor:
    """float (4, side): what each control point adds to each pixel of a side."""
    points = torch.eye(_GRID, device=device)[None, None]
    return functional.interpolate(points, size=(_GRID, side), mode="bicubic", align_corners=True)[0, 0]


def image_by_image(spec: Augment) -> Augmenter:
    """The same specification through albumentations, each image with a seed of its own.

    Its pipelines draw the same parameters in every worker and every epoch unless they are seeded
    for each image, so that is what happens here. It shifts by whole pixels, and
    its elastic grid moves by whole pixels, at least one.
    """
    transform = _albumentations_pipeline(spec)

    def augment(images: Tensor, rows: Rows, seed: Seed) -> Tensor:
        channels_last = images.permute(0, 2, 3, 1).cpu().numpy()
        outputs = []
        for image, row in zip(channels_last, rows.tolist(), strict=True):
            transform.set_random_seed(derive_seed(int(seed), row) % 2**32)
            outputs.append(transform(image=np.ascontiguousarray(image))["image"])
        stacked = np.stack(outputs).reshape(channels_last.shape)
        return torch.from_numpy(stacked).permute(0, 3, 1, 2).float().to(images.device)

    return augment


def _albumentations_pipeline(spec: Augment) -> Any:
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it asks the network otherwise
    import albumentations as A  # noqa: N812

    steps: list[Any] = [
        A.Affine(
            rotate=(-spec.rotate, spec.rotate),
            scale=(1 - spec.scale, 1 + spec.scale),
            keep_ratio=not spec.scale_apart,
            shear={"x": (-spec.shear, spec.shear), "y": (0, 0)},
            translate_px=(-round(spec.shift), round(spec.shift)),  # a share is cut to whole pixels as well
            p=1.0,
        )
    ]
    if spec.elastic:
        steps.append(
            A.GridElasticDeform(num_grid_xy=(_GRID, _GRID), magnitude=max(1, round(spec.elastic)), p=1.0)
        )
    if spec.horizontal_flip:
        steps.append(A.HorizontalFlip(p=spec.horizontal_flip))
    return A.Compose(steps)


ENGINES: dict[str, Callable[[Augment], Augmenter]] = {
    "batched": augment_in_batches,
    "albumentations": image_by_image,
}


def stays_on_device(spec: Augment | None) -> bool:
    """Whether images are augmented where they lie, without a look from the processor."""
    return spec is None or spec.engine == "batched"
