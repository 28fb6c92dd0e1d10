"""Reads several digits from one image and never needs to be told which: slots of soft attention.

Convolutions turn the image into columns. Each of S slots looks for its digit along the columns (soft
attention as of Bahdanau et al. 2015, from what the columns show and where they are), and one shared
classifier names what each slot sees. Under the `digits` head the sum alone teaches both where the
digits are and what they look like.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.models import register_model
from torch import Tensor, nn

from softvote.errors import Problem, UserError
from softvote.heads.digits import DIGITS
from softvote.models.layers import FusedSequential, ImageSize, output_shape, reject_pretrained, strided_conv
from softvote.models.resnet5 import ResidualBlock


class SlotNetwork(nn.Module):
    """A trunk that turns the image into columns, S slots on them, one classifier of digits.

    Args:
        trunk: layers, float (B, in_chans, H, W) -> float (B, channels, about H / 4, about W / 4).
        num_classes: width of the output, 10 for each slot.
        in_chans: channels of the image.
        img_size: height and width of the image in pixels.
        reach: how many neighbouring places of the trunk's end a column sees, an odd number.
        column: values of a column.
        drop_rate: dropout of what a slot sees; half of it, by channel, before the columns.

    Raises:
        UserError: outputs that are not a multiple of ten, or images that are too small.
    """

    def __init__(
        self,
        trunk: nn.Sequential,
        num_classes: int = 40,
        in_chans: int = 1,
        img_size: ImageSize = (40, 168),
        reach: int = 1,
        column: int = 192,
        drop_rate: float = 0.2,
    ) -> None:
        super().__init__()
        if num_classes % DIGITS:
            raise UserError(
                Problem("", f"{num_classes} outputs are not {DIGITS} per slot", "use head: digits")
            )
        channels, height, width = output_shape(trunk, in_chans, img_size)
        kernel, padding = (height, reach), (0, reach // 2)
        self.features = FusedSequential(
            *trunk,
            nn.Dropout2d(drop_rate / 2),
            nn.Conv2d(channels, column, kernel, padding=padding, bias=False),
            nn.BatchNorm2d(column),
            nn.ReLU(inplace=True),
            nn.Flatten(2),
        )
        self.finder = SlotFinder(column, width, num_classes // DIGITS)
        self.classifier = nn.Sequential(nn.Dropout(drop_rate), nn.Linear(column, DIGITS))

    def forward(self, images: Tensor) -> Tensor:
        """float (B, in_chans, H, W) -> float (B, num_classes), ten for each, slot after slot.

        The slots start out leaning from left to right; sums alone do not hold them to that order.
        """
        columns = self.features(images)
        seen = torch.einsum("bsw,bfw->bsf", self.finder(columns), columns)
        logits: Tensor = self.classifier(seen).flatten(1)
        return logits

    def attention(self, images: Tensor) -> Tensor:
        """Where each slot looks: float (B, in_chans, H, W) -> float32 (B, S, columns), rows that sum to 1."""
        found: Tensor = self.finder(self.features(images))
        return found


class SlotFinder(nn.Module):
    """Where each slot looks.

    Wide convolutions along the columns let a column know how many digits stand to its left; before
    anything is learned the slots lean towards evenly spread places.

    Args:
        column: values of a column.
        width: columns of an image.
        slots: S.
    """

    def __init__(self, column: int, width: int, slots: int, hidden: int = 64, kernel: int = 9) -> None:
        super().__init__()
        self.look = nn.Sequential(nn.Conv1d(column, hidden, 1), nn.ReLU())
        self.place = nn.Parameter(torch.zeros(1, hidden, width))
        self.compare = nn.Sequential(
            nn.Conv1d(hidden, hidden, kernel, padding=kernel // 2),
            nn.ReLU(),
            nn.Conv1d(hidden, hidden, kernel, padding=kernel // 2),
            nn.ReLU(),
            nn.Conv1d(hidden, slots, 1),
        )
        centres = (torch.arange(slots) + 0.5) * width / slots
        distance = (torch.arange(width) + 0.5 - centres[:, None]) / (0.75 * width / slots)
        self.lean = nn.Parameter(-(distance**2)[None])

    def forward(self, columns: Tensor) -> Tensor:
        """float (B, column, width) -> float32 (B, S, width), rows that sum to 1."""
        scores = self.compare(self.look(columns) + self.place)
        return torch.softmax(scores.float() + self.lean, dim=2)


@register_model
def slot_cnn(pretrained: bool = False, in_chans: int = 1, **kwargs: Any) -> SlotNetwork:
    """Six convolutions and pooling; 519,510 parameters at 1 x 40 x 168 and four slots."""
    trunk = nn.Sequential(
        strided_conv(in_chans, 32, 5, stride=2),
        strided_conv(32, 48, 3),
        strided_conv(48, 48, 3),
        nn.MaxPool2d(2),
        strided_conv(48, 96, 3),
        strided_conv(96, 96, 3),
        strided_conv(96, 96, 3),
    )
    return SlotNetwork(trunk, in_chans=in_chans, **reject_pretrained(pretrained, kwargs))


@register_model
def slot_resnet5(pretrained: bool = False, in_chans: int = 1, **kwargs: Any) -> SlotNetwork:
    """A convolution and two residual blocks; 811,878 parameters at 1 x 40 x 168 and four slots."""
    trunk = nn.Sequential(
        strided_conv(in_chans, 32, 5, stride=2), ResidualBlock(32, 48), ResidualBlock(48, 96, stride=2)
    )
    return SlotNetwork(trunk, in_chans=in_chans, reach=3, **reject_pretrained(pretrained, kwargs))
