"""A digit in an image plus an integer beside it: seven convolutions, the integer one-hot, an adder."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from timm.models import register_model
from torch import Tensor, nn
from torch.nn import functional

from softvote.errors import UserError
from softvote.heads.digits import DIGITS
from softvote.models.layers import (
    FusedSequential,
    ImageSize,
    flat_features,
    initialise_for_relu,
    reject_pretrained,
)

SUMS = 20
"""What the published last layer gives."""


class AdderNet(nn.Module):
    """Seven 3 x 3 convolutions down to ten values; four linear layers on these and a one-hot integer.

    Args:
        num_classes: width of the output, 20 at most; 19 for the sums 0..18.
        in_chans: channels of the image.
        img_size: height and width of the image in pixels, 28 to 31 each.

    Raises:
        UserError: too many classes, or images that do not end as one pixel.
    """

    takes_addend: ClassVar[bool] = True
    """It takes an integer with each image; networks without this attribute take images only."""

    def __init__(self, num_classes: int = 19, in_chans: int = 1, img_size: ImageSize = (28, 28)) -> None:
        super().__init__()
        if num_classes > SUMS:
            raise UserError(f"has {SUMS} outputs and cannot tell {num_classes} classes apart")
        self.num_classes = num_classes
        self.features = FusedSequential(
            *_conv_relu(in_chans, 32, padding=1),
            *_conv_relu(32, 64, padding=1, pool=True),
            *_conv_relu(64, 128, padding=1),
            *_conv_relu(128, 256, padding=1, pool=True),
            *_conv_relu(256, 512),
            *_conv_relu(512, 1024),
            nn.Conv2d(1024, DIGITS, 3),
            nn.Flatten(),
        )
        if flat_features(self.features, in_chans, img_size) != DIGITS:
            height, width = img_size
            raise UserError(f"images of {height} x {width} are too large for this network")
        self.classifier = nn.Sequential(
            nn.Linear(2 * DIGITS, 200),
            nn.ReLU(inplace=True),
            nn.Linear(200, 400),
            nn.ReLU(inplace=True),
            nn.Linear(400, 800),
            nn.ReLU(inplace=True),
            nn.Linear(800, SUMS, bias=False),
        )
        self.apply(initialise_for_relu)

    def forward(self, images: Tensor, addends: Tensor | None = None) -> Tensor:
        """float (B, in_chans, H, W) and int64 (B,) of 0..9, or None for zeros -> float (B, num_classes)."""
        if addends is None:
            addends = torch.zeros(len(images), dtype=torch.int64, device=images.device)
        digits = self.features(images)
        one_hot = functional.one_hot(addends, DIGITS).to(digits.dtype)
        sums: Tensor = self.classifier(torch.cat([digits, one_hot], dim=1))
        # The published layer has one output more than there are sums; it is kept, so that weights fit, and
        # cut off, so that no probability goes to a sum that does not exist.
        return sums[:, : self.num_classes]


def _conv_relu(in_chans: int, out_chans: int, padding: int = 0, pool: bool = False) -> list[nn.Module]:
    """3 x 3 convolution and ReLU, with max pooling by 2 between where asked for."""
    convolution = nn.Conv2d(in_chans, out_chans, 3, padding=padding)
    return [convolution, *([nn.MaxPool2d(2)] if pool else []), nn.ReLU(inplace=True)]


@register_model
def adder_net(pretrained: bool = False, **kwargs: Any) -> AdderNet:
    """6,801,186 parameters at 1 x 28 x 28 and any number of classes."""
    return AdderNet(**reject_pretrained(pretrained, kwargs))
