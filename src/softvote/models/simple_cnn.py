"""Convolutions without padding or pooling, one linear layer (An et al. 2020, MnistSimpleCNN)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from timm.models import register_model
from torch import nn

from softvote.models.layers import (
    FeaturesThenClassifier,
    Flatten,
    FusedSequential,
    ImageSize,
    flat_features,
    reject_pretrained,
)


class SimpleCNN(FeaturesThenClassifier):
    """Convolutions with batch norm and ReLU, each smaller by its kernel; batch norm after the linear layer.

    Args:
        num_classes: width of the output.
        in_chans: channels of the image.
        img_size: height and width of the image in pixels; 21 each is the least.
        kernel: side of every convolution.
        widths: channels of each.
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_chans: int = 1,
        img_size: ImageSize = (28, 28),
        kernel: int = 3,
        widths: tuple[int, ...] = (32, 48, 64, 80, 96, 112, 128, 144, 160, 176),
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for chans, width in pairwise((in_chans, *widths)):
            layers += [
                nn.Conv2d(chans, width, kernel, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
        self.features = FusedSequential(*layers, Flatten())
        self.classifier = nn.Sequential(
            nn.Linear(flat_features(self.features, in_chans, img_size), num_classes, bias=False),
            nn.BatchNorm1d(num_classes),
        )


@register_model
def simple_cnn_m3(pretrained: bool = False, **kwargs: Any) -> SimpleCNN:
    """1,124,180 parameters at 1 x 28 x 28 and 10 classes: ten 3 x 3 convolutions of 32 to 176 channels."""
    return SimpleCNN(**reject_pretrained(pretrained, kwargs))


@register_model
def simple_cnn_m5(pretrained: bool = False, **kwargs: Any) -> SimpleCNN:
    """1,128,180 parameters at 1 x 28 x 28 and 10 classes: five 5 x 5 convolutions of 32 to 160 channels."""
    m5: dict[str, Any] = {"kernel": 5, "widths": (32, 64, 96, 128, 160)}
    return SimpleCNN(**(m5 | reject_pretrained(pretrained, kwargs)))
