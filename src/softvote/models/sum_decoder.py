"""From what is believed of each digit to the sum of the digits."""

from __future__ import annotations

from typing import Any

from timm.models import register_model
from torch import Tensor, nn

from softvote.errors import UserError
from softvote.heads import DIGITS
from softvote.models.layers import FeaturesThenClassifier, ImageSize, flat_features, without_weights


class Distributions(nn.Module):
    """A softmax for each digit."""

    def forward(self, logits: Tensor) -> Tensor:
        """float (B, ...), of S x 10 values in all, digit by digit -> probabilities (B, S * 10)."""
        return logits.reshape(len(logits), -1, DIGITS).softmax(2).flatten(1)


class SumDecoder(FeaturesThenClassifier):
    """A softmax for each digit and four linear layers.

    Its images are (B, 1, S, 10): the logits of S digits, a row each. It takes them flat as well, (B, S * 10),
    as `digit_encoder` gives them.

    Args:
        num_classes: width of the output.
        in_chans: channels of the image; each brings another S digits.
        img_size: S and 10.

    Raises:
        UserError: rows that are not ten wide.
    """

    def __init__(self, num_classes: int = 1, in_chans: int = 1, img_size: ImageSize = (4, DIGITS)) -> None:
        super().__init__()
        height, width = img_size
        if width != DIGITS:
            raise UserError(f"images of {height} x {width} are not rows of ten logits, one row a digit")
        self.features = Distributions()
        self.classifier = nn.Sequential(
            nn.Linear(flat_features(self.features, in_chans, img_size), 64),
            nn.ReLU(inplace=True),
            nn.Linear(64, 128),
            nn.ReLU(inplace=True),
            nn.Linear(128, 64),
            nn.ReLU(inplace=True),
            nn.Linear(64, num_classes),
        )


@register_model
def sum_decoder(pretrained: bool = False, **kwargs: Any) -> SumDecoder:
    """19,265 parameters at 1 x 4 x 10 and 1 output."""
    return SumDecoder(**without_weights(pretrained, kwargs))
