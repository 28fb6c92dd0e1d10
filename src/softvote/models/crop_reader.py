"""Finds several digits in an image, cuts each out, and lets a network that names single digits read it.

Places are found as a whole: a score for every column in which a digit's box may begin, and the best way to
place all boxes at the distances that occur (a chain-structured conditional random field, Lafferty et al.
2001). So places are as sharp as pixels, and no digit is read twice or left out. Reading in full resolution is
left to any network of single digits.
"""

from __future__ import annotations

from typing import Any

import timm
import torch
from timm.models import register_model
from torch import Tensor, nn
from torch.nn import functional

from softvote.data.digit_layout import FIRST, SIDE, STEP_HIGH, STEP_LOW, least_width
from softvote.errors import Problem, UserError
from softvote.heads.digits import DIGITS
from softvote.models.layers import ImageSize, reject_pretrained, strided_conv
from softvote.words import counted

SLACK = 1
"""Boxes are looked for so many pixels beyond the limits of the layout: glyphs are centred to a pixel."""

_STRIDE = 4  # of the trunk, in columns
_IMPOSSIBLE = -1e30  # for the log of zero: differences of it are numbers, those of -inf are not
_SHORTEST, _LONGEST = STEP_LOW - SLACK, STEP_HIGH + SLACK  # steps from box to box
_MARGIN = 4  # pixels around an image that a crop may take in


class CropReader(nn.Module):
    """A locator, and a classifier of what stands in the places that it finds.

    Args:
        classifier: the name of a network of single digits.
        classifier_args: its further arguments.
        num_classes: width of the output, 10 per digit.
        in_chans: channels of the image.
        img_size: height and width of the image in pixels.

    Raises:
        UserError: outputs that are not a multiple of ten, or images that are too small.
    """

    def __init__(
        self,
        classifier: str = "cnn",
        classifier_args: dict[str, Any] | None = None,
        num_classes: int = 40,
        in_chans: int = 1,
        img_size: ImageSize = (40, 168),
    ) -> None:
        super().__init__()
        height, width = img_size
        self.digits = num_classes // DIGITS
        if num_classes % DIGITS:
            raise UserError(
                Problem("", f"{num_classes} outputs are not {DIGITS} per digit", "use head: digits")
            )
        if height < SIDE or width < least_width(self.digits):
            needed = f"{SIDE} x {least_width(self.digits)}"
            raise UserError(
                Problem(
                    "",
                    f"images of {height} x {width} are too small for {counted(self.digits, 'digit')}",
                    f"they need {needed}",
                )
            )
        self.locator = Locator(in_chans, img_size)
        self.classifier: nn.Module = timm.create_model(
            classifier,
            num_classes=DIGITS,
            in_chans=in_chans,
            img_size=(SIDE, SIDE),
            **(classifier_args or {}),
        )

    def forward(self, images: Tensor) -> Tensor:
        """float (B, in_chans, H, W) -> float (B, num_classes), ten per digit, from left to right."""
        return self._read(images, self.find(images))

    def find(self, images: Tensor) -> Tensor:
        """The row and column in which each digit's box begins, int64 (B, S, 2)."""
        # In float32, because near ties must not fall one way here and another there.
        with torch.autocast(images.device.type, enabled=False):
            columns, rows = self.locator(images.float())
        left = best_chain(columns, self.digits)
        top = rows.argmax(1).gather(1, left)
        return torch.stack([top, left], dim=2) - SLACK

    def teacher_force(self, images: Tensor, places: Tensor, looks: Tensor) -> tuple[Tensor, Tensor]:
        """What is read where a teacher says, and how improbable the right places seem.

        Args:
            images: float (B, in_chans, H, W).
            places: int64 (B, S, 2), the row and column in which each digit's box begins.
            looks: int64 (B, S, 2), where to read.

        Returns:
            float (B, num_classes); float32 scalar, in nats a digit.
        """
        columns, rows = self.locator(images)
        top, left = (places + SLACK).unbind(2)
        improbable = chain_loss(columns, left) / self.digits
        at_left = rows.gather(2, left[:, None].expand(-1, rows.shape[1], -1))
        return self._read(images, looks), improbable + functional.cross_entropy(at_left, top)

    def _read(self, images: Tensor, places: Tensor) -> Tensor:
        logits: Tensor = self.classifier(crops(images, places))
        return logits.view(-1, self.digits * DIGITS)


class Locator(nn.Module):
    """Scores of where a digit's box may begin.

    Args:
        in_chans: channels of the image.
        img_size: its height and width in pixels.
    """

    def __init__(self, in_chans: int, img_size: ImageSize, width: int = 64, kernel: int = 9) -> None:
        super().__init__()
        height, self.width = img_size
        self.rows = height - SIDE + 1 + 2 * SLACK
        deep = -(-height // _STRIDE)
        self.trunk = nn.Sequential(
            strided_conv(in_chans, width // 2, 5, stride=2),
            strided_conv(width // 2, width // 2, 3),
            strided_conv(width // 2, width, 3, stride=2),
            strided_conv(width, width, 3),
        )
        self.look = nn.Sequential(
            nn.Conv2d(width, 2 * width, (deep, 3), padding=(0, 1), bias=False),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(inplace=True),
            nn.Flatten(2),
            nn.Conv1d(2 * width, 2 * width, kernel, padding=kernel // 2),
            nn.ReLU(inplace=True),
            nn.Conv1d(2 * width, _STRIDE * (1 + self.rows), 1),
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Score places.

        Args:
            images: float (B, in_chans, H, W).

        Returns:
            float32 (B, P), of each column in which a box may begin, from -SLACK on; float32 (B, T, P), of
            each row in which it then may begin, from -SLACK on.
        """
        found = self.look(self.trunk(images)).float()
        apart = found.unflatten(1, (_STRIDE, 1 + self.rows))
        columns = apart.permute(0, 2, 3, 1).flatten(2)  # the scores of one pixel's column stand in its middle
        first = SIDE // 2 - SLACK
        columns = columns[:, :, first : first + self.width - SIDE + 1 + 2 * SLACK]
        return columns[:, 0], columns[:, 1:]


def crops(images: Tensor, places: Tensor) -> Tensor:
    """Boxes of an image: float (B, C, H, W) and int64 (B, S, 2) -> float (B * S, C, 28, 28).

    A place is the row and column in which a box begins, at most four pixels outside the image; beyond its
    border an image goes on as it ends.
    """
    _, channels, height, width = images.shape
    padded = functional.pad(images, (_MARGIN,) * 4, mode="replicate").flatten(2)
    side = torch.arange(SIDE, device=images.device) + _MARGIN
    down, across = (places[..., axis, None] + side for axis in (0, 1))
    down, across = down.clamp(0, height + 2 * _MARGIN - 1), across.clamp(0, width + 2 * _MARGIN - 1)
    where = down[..., :, None] * (width + 2 * _MARGIN) + across[..., None, :]
    each = padded.gather(2, where.flatten(1)[:, None].expand(-1, channels, -1))
    boxes: Tensor = each.unflatten(2, (-1, SIDE, SIDE)).transpose(1, 2).flatten(0, 1)  # type: ignore[no-untyped-call]
    return boxes


def _first(columns: Tensor) -> Tensor:
    """Scores of chains of one box."""
    beyond = torch.arange(columns.shape[1], device=columns.device) > FIRST + 2 * SLACK
    return columns.masked_fill(beyond, _IMPOSSIBLE)


def _before(chains: Tensor) -> Tensor:
    """What may stand before each column: float (B, P) -> float (B, P, steps), the longest step first."""
    return functional.pad(chains, (_LONGEST, 0), value=_IMPOSSIBLE).unfold(1, _LONGEST - _SHORTEST + 1, 1)[
        :, : chains.shape[1]
    ]


def best_chain(columns: Tensor, digits: int) -> Tensor:
    """The columns that score most together, by dynamic programming (Viterbi 1967).

    Args:
        columns: float (B, P), the score of each column.
        digits: how many boxes there are.

    Returns:
        int64 (B, digits), from left to right.
    """
    chains, steps = _first(columns), list[Tensor]()
    for _ in range(digits - 1):
        best = _before(chains).max(2)
        chains = columns + best.values
        steps.append(best.indices)
    found = [chains.argmax(1, keepdim=True)]
    for step in reversed(steps):
        found.append(found[-1] - _LONGEST + step.gather(1, found[-1]))
    return torch.cat(found[::-1], dim=1)


def chain_loss(columns: Tensor, right: Tensor) -> Tensor:
    """How improbable the right columns are among all chains, by the forward algorithm.

    Args:
        columns: float (B, P), the score of each column.
        right: int64 (B, S), the columns in which the boxes begin, from left to right.

    Returns:
        float scalar, the mean over the images, in nats.
    """
    chains = _first(columns)
    for _ in range(right.shape[1] - 1):
        chains = columns + _before(chains).logsumexp(2)
    return (chains.logsumexp(1) - columns.gather(1, right).sum(1)).mean()


@register_model
def crop_reader(pretrained: bool = False, **kwargs: Any) -> CropReader:
    """A locator and, by default, `cnn`; 1,339,082 parameters at 1 x 40 x 168 and four digits."""
    return CropReader(**reject_pretrained(pretrained, kwargs))
