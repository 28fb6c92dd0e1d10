"""Four convolutions that say which digits an image holds; their features serve for its sum as well."""

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


class MultilabelCNN(FeaturesThenClassifier):
    """A padded 5 x 5 and three padded 3 x 3 convolutions, each pooled, and two linear layers.

    With ten outputs it tells which digits are present, one logit a digit; with one output it is a
    regressor of the sum, which may start from the features of the former.

    Args:
        num_classes: width of the output.
        in_chans: channels of the image.
        img_size: height and width of the image in pixels, at least 16 each.
    """

    def __init__(self, num_classes: int = 10, in_chans: int = 1, img_size: ImageSize = (40, 168)) -> None:
        super().__init__()
        self.features = FusedSequential(
            *_conv_relu_bn_pool(in_chans, 32, 5),
            *_conv_relu_bn_pool(32, 64, 3),
            *_conv_relu_bn_pool(64, 128, 3),
            *_conv_relu_bn_pool(128, 256, 3),
            nn.Flatten(),
        )
        self.classifier = nn.Sequential(
            nn.Linear(flat_features(self.features, in_chans, img_size), 128),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(128, num_classes),
        )


def _conv_relu_bn_pool(in_chans: int, out_chans: int, kernel: int) -> list[nn.Module]:
    """Same-size convolution, then ReLU, batch norm and max pooling by 2, in the published order.

    Batch norm may turn the sign of a channel, so pooling does not commute with it and comes last.
    """
    return [
        nn.Conv2d(in_chans, out_chans, kernel, padding=kernel // 2),
        nn.ReLU(inplace=True),
        nn.BatchNorm2d(out_chans),
        nn.MaxPool2d(2),
    ]


@register_model
def multilabel_cnn(pretrained: bool = False, **kwargs: Any) -> MultilabelCNN:
    """1,046,090 parameters at 1 x 40 x 168 and 10 outputs, 1,044,929 at 1 output."""
    return MultilabelCNN(**reject_pretrained(pretrained, kwargs))
