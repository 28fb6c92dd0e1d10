"""LeNet-5 with ReLU and max pooling (LeCun et al. 1998): the first rung of the ladder."""

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


class BasicCNN(FeaturesThenClassifier):
    """Two unpadded 5 x 5 convolutions and three linear layers.

    Args:
        num_classes: width of the output.
        in_chans: channels of the image.
        img_size: height and width of the image in pixels, at least 16 each.
    """

    def __init__(self, num_classes: int = 10, in_chans: int = 1, img_size: ImageSize = (28, 28)) -> None:
        super().__init__()
        self.features = FusedSequential(
            nn.Conv2d(in_chans, 6, 5),
            nn.MaxPool2d(2),
            nn.ReLU(inplace=True),
            nn.Conv2d(6, 16, 5),
            nn.MaxPool2d(2),
            nn.ReLU(inplace=True),
            nn.Flatten(),
        )
        self.classifier = nn.Sequential(
            nn.Linear(flat_features(self.features, in_chans, img_size), 120),
            nn.ReLU(inplace=True),
            nn.Linear(120, 84),
            nn.ReLU(inplace=True),
            nn.Linear(84, num_classes),
        )


@register_model
def basic_cnn(pretrained: bool = False, **kwargs: Any) -> BasicCNN:
    """44,426 parameters at 1 x 28 x 28 and 10 classes."""
    return BasicCNN(**reject_pretrained(pretrained, kwargs))
