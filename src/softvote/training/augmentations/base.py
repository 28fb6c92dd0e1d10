"""The registry of augmentations, and what several of them do alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from softvote.config.entries import AugmentationConfig
from softvote.config.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

AUGMENTATIONS: Registry[type[AugmentationConfig]] = Registry()
"""The class of every family of keys under `augment`, in the order in which they are applied."""


_C = TypeVar("_C", bound=AugmentationConfig)


def register_augmentation(name: str, rank: int) -> Callable[[type[_C]], type[_C]]:
    """Decorate a class to be registered; images pass what has a lower rank first.

    Args:
        name: from which, with the seed of the epoch, what it draws is derived.
    """

    def add(kind: type[_C]) -> type[_C]:
        AUGMENTATIONS.add(name, kind, rank)
        return kind

    return add


def each(amounts: Tensor) -> Tensor:
    """One number per image, (B,), as it is multiplied with images: (B, 1, 1, 1)."""
    return amounts.view(-1, 1, 1, 1)


def grey(images: Tensor) -> Tensor:
    """float (B, C, H, W) -> (B, 1, H, W): the luma of three channels (ITU-R BT.601), of others their mean."""
    if images.shape[1] != 3:
        return images.mean(1, keepdim=True)
    red, green, blue = images[:, 0:1], images[:, 1:2], images[:, 2:3]
    return 0.2989 * red + 0.587 * green + 0.114 * blue


def mean_of_each(images: Tensor) -> Tensor:
    """float (B, C, H, W) -> (B, 1, 1, 1)."""
    return each(images.flatten(1).mean(1))


def blend(images: Tensor, others: Tensor, share: Tensor) -> Tensor:
    """So much of the images, beyond 1 away from the others, within 0..255.

    Args:
        others: whatever the images' shape broadcasts with.
        share: float (B,).
    """
    return (others + each(share) * (images - others)).clamp(0, 255)
