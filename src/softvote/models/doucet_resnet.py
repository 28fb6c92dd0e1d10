"""A wide residual network for small images (T. Doucet's MNIST ensemble)."""

from __future__ import annotations

from typing import Any

from timm.models import register_model
from torch import Tensor, nn
from torch.nn import functional

from softvote.models.layers import (
    FeaturesThenClassifier,
    Flatten,
    FusedSequential,
    ImageSize,
    flat_features,
    reject_pretrained,
)


class NormedBlock(nn.Module):
    """Batch norm, and what one 3 x 3 convolution and ReLU make of its result added to that result."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """float (B, channels, H, W) -> the same shape."""
        normed = self.norm(features)
        residual: Tensor = normed + functional.relu(self.conv(normed), inplace=True)
        return residual


class DoucetResNet(FeaturesThenClassifier):
    """Four residual blocks of one convolution each at three widths, the image halved three times.

    Args:
        num_classes: width of the output.
        in_chans: channels of the image.
        img_size: height and width of the image in pixels, at least 4 each.
        width: channels at the image's own size; twice and four times as many follow.
    """

    def __init__(
        self, num_classes: int = 10, in_chans: int = 1, img_size: ImageSize = (28, 28), width: int = 128
    ) -> None:
        super().__init__()
        self.features = FusedSequential(
            nn.Conv2d(in_chans, width, 5, padding=2),
            nn.ReLU(inplace=True),
            NormedBlock(width),
            nn.MaxPool2d(2),
            NormedBlock(width),
            nn.BatchNorm2d(width),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.MaxPool2d(2),
            nn.ReLU(inplace=True),
            NormedBlock(2 * width),
            nn.BatchNorm2d(2 * width),
            nn.Conv2d(2 * width, 4 * width, 3, padding=1),
            nn.MaxPool2d(2, ceil_mode=True),
            nn.ReLU(inplace=True),
            NormedBlock(4 * width),
            nn.BatchNorm2d(4 * width),
            nn.AdaptiveAvgPool2d(1),
            Flatten(),
        )
        self.classifier = nn.Linear(flat_features(self.features, in_chans, img_size), num_classes)


@register_model
def doucet_resnet(pretrained: bool = False, **kwargs: Any) -> DoucetResNet:
    """4,732,682 parameters at 1 x 28 x 28, 10 classes and width 128; 1,186,698 at width 64."""
    return DoucetResNet(**reject_pretrained(pretrained, kwargs))
