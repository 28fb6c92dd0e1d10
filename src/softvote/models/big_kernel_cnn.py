"""Two 5 x 5 convolutions with batch norm: few layers, a wide view."""

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


class BigKernelCNN(FeaturesThenClassifier):
    """Two padded 5 x 5 convolutions, each pooled, and two linear layers.

    Args:
        num_classes: width of the output.
        in_chans: channels of the image.
        img_size: height and width of the image in pixels, at least 4 each.
    """

    def __init__(self, num_classes: int = 10, in_chans: int = 1, img_size: ImageSize = (28, 28)) -> None:
        super().__init__()
        self.features = nn.Sequential(
            conv_bn_relu(in_chans, 32, 5, pool=True),
            conv_bn_relu(32, 64, 5, pool=True),
            nn.Flatten(),
        )
        self.classifier = nn.Sequential(
            nn.Linear(flat_features(self.features, in_chans, img_size), 256),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(256, num_classes),
        )


@register_model
def big_kernel_cnn(pretrained: bool = False, **kwargs: Any) -> BigKernelCNN:
    """857,930 parameters at 1 x 28 x 28 and 10 classes."""
    return BigKernelCNN(**reject_pretrained(pretrained, kwargs))
