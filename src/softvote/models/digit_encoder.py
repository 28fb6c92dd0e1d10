"""A deep VGG-like network (Simonyan and Zisserman 2015) that reads every digit of a row of digits."""

from __future__ import annotations

from typing import Any

from timm.models import register_model
from torch import nn

from softvote.models.layers import (
    FeaturesThenClassifier,
    FusedSequential,
    ImageSize,
    flat_features,
    initialise_for_relu,
    reject_pretrained,
)


class DigitEncoder(FeaturesThenClassifier):
    """Five pairs of 3 x 3 convolutions, each pooled and dropped out, and two linear layers.

    Four digits are 40 outputs: the ten logits of the leftmost digit, then those of the next.

    Args:
        num_classes: width of the output, ten for each digit.
        in_chans: channels of the image.
        img_size: height and width of the image in pixels, at least 32 each.
    """

    def __init__(self, num_classes: int = 40, in_chans: int = 1, img_size: ImageSize = (40, 168)) -> None:
        super().__init__()
        self.features = nn.Sequential(
            _conv_pair(in_chans, 64),
            _conv_pair(64, 128),
            _conv_pair(128, 256),
            _conv_pair(256, 512),
            _conv_pair(512, 1024),
            nn.Flatten(),
        )
        digits = nn.Linear(512, num_classes)
        self.classifier = nn.Sequential(
            nn.Linear(flat_features(self.features, in_chans, img_size), 512),
            nn.ReLU(inplace=True),
            nn.Dropout(0.1),
            digits,
        )
        self.apply(initialise_for_relu)
        # With zeros every digit is equally likely at first, and digits are learnt within a hundred steps.
        # With random weights the first steps undo them, and convolutions lose what tells images apart.
        nn.init.zeros_(digits.weight)


def _conv_pair(in_chans: int, out_chans: int) -> FusedSequential:
    """Two same-size convolutions with ReLU, max pooling by 2, and dropout."""
    return FusedSequential(
        nn.Conv2d(in_chans, out_chans, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(out_chans, out_chans, 3, padding=1),
        nn.MaxPool2d(2),
        nn.ReLU(inplace=True),
        nn.Dropout(0.1),
    )


@register_model
def digit_encoder(pretrained: bool = False, **kwargs: Any) -> DigitEncoder:
    """21,484,520 parameters at 1 x 40 x 168 and 40 outputs."""
    return DigitEncoder(**reject_pretrained(pretrained, kwargs))
