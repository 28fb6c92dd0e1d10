"""Augmentation: what a recipe says under `augment`, done to batches of training images.

First come transforms of albumentations by their names, image by image on the processor, which any process may
do; then movements, by one of two engines, and the families of `softvote.training.augmentations` on the
training device. What happens to an image depends on the seed (which holds the epoch) and the image's row
number alone: not on the batch it came in, nor on how many workers there are.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from softvote.compute.draws import Augmenter, Rows, Seed, derive, draw_uniforms
from softvote.seeds import derive_seed
from softvote.training.movement import GRID, move

if TYPE_CHECKING:
    from softvote.config.augment import Augment
    from softvote.config.entries import ImageTransform


def create_augmenter(spec: Augment | None) -> Augmenter:
    """The augmentation of a specification, all of it; without one, images pass as they are.

    Returns:
        a function of images uint8 (B, C, H, W), their row numbers int64 (B,) and a seed, giving
        float32 (B, C, H, W) in 0..255 on the device of the images.
    """
    transform, augment = create_transform(spec), create_device_augmenter(spec)
    if transform is None:
        return augment

    def transform_then_augment(images: Tensor, rows: Rows, seed: Seed) -> Tensor:
        on_processor = rows.cpu().numpy() if isinstance(rows, Tensor) else rows
        changed = torch.from_numpy(transform(images.cpu().numpy(), on_processor, int(seed)))
        return augment(changed.to(images.device), rows, seed)

    return transform_then_augment


def create_transform(spec: Augment | None) -> ImageTransform | None:
    """The part of a specification that the processor does before all else; None where there is none."""
    made = [family.create_transform() for family in spec.families().values()] if spec else []
    transforms = [transform for transform in made if transform is not None]
    if not transforms:
        return None
    [transform] = transforms
    return transform


def create_device_augmenter(spec: Augment | None) -> Augmenter:
    """The rest of it, for images that `create_transform` has changed; as `create_augmenter` otherwise."""
    if spec is None:
        return lambda images, rows, seed: images.float()
    engine = ENGINES[spec.engine](spec) if spec.moves else create_device_augmenter(None)
    families = {name: family for name, family in spec.families().items() if family.columns}
    before = {name: family for name, family in families.items() if family.before_movement}
    after = {name: family for name, family in families.items() if not family.before_movement}

    def apply(families: dict[str, Any], images: Tensor, rows: Rows, seed: Seed) -> Tensor:
        for name, family in families.items():
            drawn = draw_uniforms(derive(seed, name), rows, family.columns, images.device)
            images = family.apply(images, drawn)
        return images

    def augment(images: Tensor, rows: Rows, seed: Seed) -> Tensor:
        if before:
            images = apply(before, images.float(), rows, seed)
        return apply(after, engine(images, rows, seed), rows, seed)

    return augment


def augment_in_batches(spec: Augment) -> Augmenter:
    """Movements of all images of a batch at once, where they lie."""
    return lambda images, rows, seed: move(spec, images.float(), rows, seed)


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
            A.GridElasticDeform(num_grid_xy=(GRID, GRID), magnitude=max(1, round(spec.elastic)), p=1.0)
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
    families = spec.families().values() if spec else ()
    return spec is None or (spec.engine == "batched" and all(family.columns for family in families))
