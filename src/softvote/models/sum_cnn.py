"""Two convolutions and one class for each sum: the plainest way from an image of digits to their sum."""

from __future__ import annotations

from typing import Any

from timm.models import register_model
from torch import nn

from softvote.models.layers import (
    FeaturesThenClassifier,
    FusedSequential,
    ImageSize,
    flat_features,
    reject_pretrained,
)


class SumCNN(FeaturesThenClassifier):
    """Two unpadded 3 x 3 convolutions, each pooled, and two linear layers.

    Args:
        num_classes: width of the output, 37 for the sums of four digits.
        in_chans: channels of the image.
        img_size: height and width of the image in pixels, at least 10 each.
    """

    def __init__(self, num_classes: int = 37, in_chans: int = 1, img_size: ImageSize = (40, 168)) -> None:
        super().__init__()
        self.features = FusedSequential(
            nn.Conv2d(in_chans, 32, 3),
            nn.MaxPool2d(2),
            nn.ReLU(inplace=True),
            nn.Conv2d(32, 64, 3),
            nn.MaxPool2d(2),
            nn.ReLU(inplace=True),
            nn.Flatten(),
        )
        self.classifier = nn.Sequential(
            nn.Linear(flat_features(self.features, in_chans, img_size), 128),
            nn.ReLU(inplace=True),
            nn.Linear(128, num_classes),
        )


@register_model
def sum_cnn(pretrained: bool = False, **kwargs: Any) -> SumCNN:
    """2,645,157 parameters at 1 x 40 x 168 and 37 classes."""
    return SumCNN(**reject_pretrained(pretrained, kwargs))
