"""Nine wide convolutions with squeeze-and-excitation (Matuzas' MNIST-0.17; Hu et al. 2018)."""

from __future__ import annotations

from typing import Any

import torch
from timm.models import register_model
from torch import Tensor, nn

from softvote.models.layers import (
    FeaturesThenClassifier,
    FusedSequential,
    ImageSize,
    initialise_for_relu,
    output_shape,
    reject_pretrained,
)


class SqueezeExcite(nn.Module):
    """Channels weighted by what all of them are on average over the image (Hu et al. 2018)."""

    def __init__(self, channels: int, ratio: int = 32) -> None:
        super().__init__()
        self.excitation = nn.Sequential(
            nn.Linear(channels, channels // ratio),
            nn.ReLU(inplace=True),
            nn.Linear(channels // ratio, channels),
            nn.Sigmoid(),
        )

    def forward(self, features: Tensor) -> Tensor:
        """float (B, channels, H, W) -> the same shape."""
        weights = self.excitation(features.mean((2, 3)))
        weighted: Tensor = features * weights[:, :, None, None].to(features.dtype)
        return weighted


class MaxAndMean(nn.Module):
    """The largest and the mean of each channel over the image."""

    def forward(self, features: Tensor) -> Tensor:
        """float (B, C, H, W) -> float (B, 2 * C)."""
        return torch.cat([features.amax((2, 3)), features.mean((2, 3))], 1)


class MatuzasSENet(FeaturesThenClassifier):
    """Three groups of three 3 x 3 convolutions, and a linear layer on global maximum and mean.

    Args:
        num_classes: width of the output.
        in_chans: channels of the image.
        img_size: height and width of the image in pixels, at least 4 each.
        width: channels of every convolution, a multiple of 32.
    """

    def __init__(
        self, num_classes: int = 10, in_chans: int = 1, img_size: ImageSize = (28, 28), width: int = 128
    ) -> None:
        super().__init__()
        self.features = FusedSequential(
            *_group(in_chans, width),
            *_group(width, width),
            nn.AvgPool2d(2),
            *_group(width, width),
            nn.AvgPool2d(2),
            MaxAndMean(),
        )
        self.features.apply(initialise_for_relu)
        (joined,) = output_shape(self.features, in_chans, img_size)
        self.classifier = nn.Linear(joined, num_classes, bias=False)


def _group(in_chans: int, out_chans: int) -> list[nn.Module]:
    """Three convolutions with ReLU, batch norm, squeeze-and-excitation."""
    layers: list[nn.Module] = []
    for chans in (in_chans, out_chans, out_chans):
        layers += [nn.Conv2d(chans, out_chans, 3, padding=1), nn.ReLU(inplace=True)]
    return [*layers, nn.BatchNorm2d(out_chans), SqueezeExcite(out_chans)]


@register_model
def matuzas_senet(pretrained: bool = False, **kwargs: Any) -> MatuzasSENet:
    """1,188,748 parameters at 1 channel, 10 classes and width 128."""
    return MatuzasSENet(**reject_pretrained(pretrained, kwargs))
