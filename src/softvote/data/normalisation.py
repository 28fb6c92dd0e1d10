"""Grey levels to numbers around zero, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from softvote.data.pixels import Pixels, iterate_pixels

By: TypeAlias = Literal["dataset", "image", "pretrained"]

_LEAST_STD = 1.0  # grey levels; a blank image must not divide by nothing


@dataclass(frozen=True)
class Normalisation:
    """From grey levels to mean 0 and standard deviation 1.

    Attributes:
        mean: of each channel over the training rows, in 0..255; by pretrained, over what the network had
            learned from before.
        std: standard deviations of the same.
        by: whose mean and standard deviation are taken: these, or each image's own, over all its pixels and
            channels.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    by: By = "dataset"

    @classmethod
    def of(cls, images: Tensor | Pixels, by: By = "dataset") -> Normalisation:
        """Measure uint8 (N, C, H, W), each once, through the 256 counts of each channel's grey levels."""
        levels = torch.arange(256, dtype=torch.float64)
        counts = torch.zeros(images.shape[1], 256, dtype=torch.int64)
        for part in iterate_pixels(images.numpy() if isinstance(images, Tensor) else images):
            for channel, planes in enumerate(torch.from_numpy(part).unbind(1)):
                counts[channel] += torch.bincount(planes.reshape(-1).int(), minlength=256)
        means, stds = [], []
        for share in counts.double():
            share /= share.sum()
            mean = float((share * levels).sum())
            variance = float((share * (levels - mean) ** 2).sum())
            means.append(mean)
            stds.append(variance**0.5 or 1.0)  # blank images must not divide by nothing
        return cls(tuple(means), tuple(stds), by)

    def __call__(self, images: Tensor) -> Tensor:
        """float (B, C, H, W) in 0..255 -> the same shape, mean 0 and standard deviation 1."""
        if self.by == "image":
            variance, mean = torch.var_mean(images, (1, 2, 3), correction=0, keepdim=True)
            return (images - mean) / variance.sqrt().clamp_min(_LEAST_STD)
        return (images - _each(self.mean, images.device)) / _each(self.std, images.device)


def _each(levels: tuple[float, ...], device: torch.device) -> Tensor:
    """float32 (C, 1, 1), filled in where it is needed: a copy would wait for what the device still does."""
    return torch.stack([torch.full((1, 1), level, device=device) for level in levels])
