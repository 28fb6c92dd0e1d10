"""From the image to the sum, end to end: `digit_encoder` and `sum_decoder` in one network."""

from __future__ import annotations

from typing import Any

from timm.models import register_model

from softvote.errors import UserError
from softvote.heads.digits import DIGITS
from softvote.models.digit_encoder import DigitEncoder
from softvote.models.layers import FeaturesThenClassifier, ImageSize, reject_pretrained
from softvote.models.sum_decoder import SumDecoder


class EncoderDecoder(FeaturesThenClassifier):
    """Reads hidden digits and adds up what it believes of them.

    `features` is a `digit_encoder`, whose weights `init_from` takes over; `classifier` is a `sum_decoder`.

    Args:
        num_classes: width of the output.
        in_chans: channels of the image.
        img_size: height and width of the image in pixels, at least 32 each.
        digits: how many digits the image holds, at least one.

    Raises:
        UserError: no digits, or images too small.
    """

    def __init__(
        self, num_classes: int = 1, in_chans: int = 1, img_size: ImageSize = (40, 168), digits: int = 4
    ) -> None:
        super().__init__()
        if digits < 1:
            raise UserError(f"digits must be 1 or more, not {digits}")
        self.features = DigitEncoder(digits * DIGITS, in_chans, img_size)
        self.classifier = SumDecoder(num_classes, digits)


@register_model
def encoder_decoder(pretrained: bool = False, **kwargs: Any) -> EncoderDecoder:
    """21,503,785 parameters at 1 x 40 x 168, four digits and 1 output."""
    return EncoderDecoder(**reject_pretrained(pretrained, kwargs))
