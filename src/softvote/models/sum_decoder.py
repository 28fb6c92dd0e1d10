"""From what is believed of each digit to the sum of the digits."""

from __future__ import annotations

from typing import Any

from timm.models import register_model
from torch import Tensor, nn

from softvote.errors import UserError
from softvote.heads.digits import DIGITS
from softvote.models.layers import FeaturesThenClassifier, ImageSize, reject_pretrained


class Distributions(nn.Module):
    """A softmax for each digit."""

    def forward(self, logits: Tensor) -> Tensor:
        """float (B, ...), of S x 10 values in all, digit by digit -> probabilities (B, S * 10)."""
        return logits.reshape(len(logits), -1, DIGITS).softmax(2).flatten(1)


class SumDecoder(FeaturesThenClassifier):
    """A softmax for each digit and four linear layers.

    It takes the logits of S digits flat, (B, S * 10), as `digit_encoder` gives them, or as images of one
    channel with a row for each digit, (B, 1, S, 10).

    Args:
        num_classes: width of the output.
        digits: S.
    """

    def __init__(self, num_classes: int = 1, digits: int = 4) -> None:
        super().__init__()
        self.features = Distributions()
        self.classifier = nn.Sequential(
            nn.Linear(digits * DIGITS, 64),
            nn.ReLU(inplace=True),
            nn.Linear(64, 128),
            nn.ReLU(inplace=True),
            nn.Linear(128, 64),
            nn.ReLU(inplace=True),
            nn.Linear(64, num_classes),
        )


@register_model
def sum_decoder(
    pretrained: bool = False, in_chans: int = 1, img_size: ImageSize = (4, DIGITS), **kwargs: Any
) -> SumDecoder:
    """19,265 parameters at 1 x 4 x 10 and 1 output.

    Raises:
        UserError: images that are not one channel of rows of ten.
    """
    height, width = img_size
    if (in_chans, width) != (1, DIGITS):
        shape = f"{height} x {width} x {in_chans}"
        raise UserError(f"images of {shape} (H x W x C) are not rows of ten logits, one row per digit")
    return SumDecoder(digits=height, **reject_pretrained(pretrained, kwargs))
