"""Seven convolutions with learned downsampling (C. Deotte's "25 Million Images!" on Kaggle)."""

from __future__ import annotations

from typing import Any

from timm.models import register_model
from torch import nn

from softvote.models.layers import FeaturesThenClassifier, ImageSize, flat_features, reject_pretrained


class DeotteCNN(FeaturesThenClassifier):
    """Convolutions without padding, batch norm after each ReLU; strides of 2 in place of pooling.

    Args:
        num_classes: width of the output.
        in_chans: channels of the image.
        img_size: height and width of the image in pixels, at least 25 each.
    """

    def __init__(self, num_classes: int = 10, in_chans: int = 1, img_size: ImageSize = (28, 28)) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_conv_relu_bn(in_chans, 32, 3),
            *_conv_relu_bn(32, 32, 3),
            *_conv_relu_bn(32, 32, 5, stride=2, padding=2),
            nn.Dropout(0.4),
            *_conv_relu_bn(32, 64, 3),
            *_conv_relu_bn(64, 64, 3),
            *_conv_relu_bn(64, 64, 5, stride=2, padding=2),
            nn.Dropout(0.4),
            *_conv_relu_bn(64, 128, 4),
            nn.Flatten(),
            nn.Dropout(0.4),
        )
        self.classifier = nn.Linear(flat_features(self.features, in_chans, img_size), num_classes)


def _conv_relu_bn(
    in_chans: int, out_chans: int, kernel: int, stride: int = 1, padding: int = 0
) -> list[nn.Module]:
    return [
        nn.Conv2d(in_chans, out_chans, kernel, stride=stride, padding=padding),
        nn.ReLU(inplace=True),
        nn.BatchNorm2d(out_chans),
    ]


@register_model
def deotte_cnn(pretrained: bool = False, **kwargs: Any) -> DeotteCNN:
    """326,410 parameters at 1 x 28 x 28 and 10 classes."""
    return DeotteCNN(**reject_pretrained(pretrained, kwargs))
