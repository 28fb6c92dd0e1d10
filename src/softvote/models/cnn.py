"""A small VGG-like network (Simonyan and Zisserman 2015) with batch norm and dropout."""

from __future__ import annotations

from typing import Any

from timm.models import register_model
from torch import nn

from softvote.models.layers import (
    FeaturesThenClassifier,
    ImageSize,
    conv_bn_relu,
    flat_features,
    reject_pretrained,
)


class CNN(FeaturesThenClassifier):
    """Two pairs of 3 x 3 convolutions, each pooled and dropped out by channel; two linear layers.

    Args:
        num_classes: width of the output.
        in_chans: channels of the image.
        img_size: height and width of the image in pixels, at least 4 each.
    """

    def __init__(self, num_classes: int = 10, in_chans: int = 1, img_size: ImageSize = (28, 28)) -> None:
        super().__init__()
        self.features = nn.Sequential(
            conv_bn_relu(in_chans, 32, 3),
            conv_bn_relu(32, 32, 3, pool=True),
            nn.Dropout2d(0.25),
            conv_bn_relu(32, 64, 3),
            conv_bn_relu(64, 64, 3, pool=True),
            nn.Dropout2d(0.25),
            nn.Flatten(),
        )
        self.classifier = nn.Sequential(
            nn.Linear(flat_features(self.features, in_chans, img_size), 256),
            nn.BatchNorm1d(256),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(256, num_classes),
        )


@register_model
def cnn(pretrained: bool = False, **kwargs: Any) -> CNN:
    """871,530 parameters at 1 x 28 x 28 and 10 classes."""
    return CNN(**reject_pretrained(pretrained, kwargs))
