"""Images of several digits composed anew in every epoch from glyphs, on the device that learns from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from softvote.compute.draws import Rows, Seed, draw_uniforms
from softvote.config.augment import Augment
from softvote.data.digit_layout import FIRST, SIDE, STEP_HIGH, STEP_LOW
from softvote.errors import Problem, UserError
from softvote.heads.digits import DIGITS
from softvote.models.crop_reader import SLACK, CropReader
from softvote.training.augment import create_augmenter
from softvote.training.glyphs import Glyphs
from softvote.training.learner import Learner
from softvote.training.mixing import Mixing
from softvote.training.rows import Split


@dataclass(frozen=True)
class ComposedBatch:
    """A batch of images of several digits.

    Attributes:
        images: float32 (B, 1, H, W), 0..255.
        digits: int64 (B, S), from left to right.
        places: int64 (B, S, 2), the row and the column in which each digit's box begins.
        looks: int64 (B, S, 2), the same, a little beside it: where a reader is to look.
    """

    images: Tensor
    digits: Tensor
    places: Tensor
    looks: Tensor


class Composer:
    """Draws glyphs and where they stand, and puts them on black; the brighter pixel stays where they overlap.

    An image depends on the seeds and its row number alone.

    Args:
        glyphs: what is drawn from, each as often as every other.
        digits: S.
        size: H and W of the images.
        augment: what happens to each glyph. Its shift moves the look and, beyond half a pixel, not the glyph,
            whose place would no longer be known.
        device: where images are composed.

    Raises:
        UserError: there are no glyphs.
    """

    def __init__(
        self, glyphs: Glyphs, digits: int, size: tuple[int, int], augment: Augment | None, device: str
    ) -> None:
        if not len(glyphs.digits):
            raise UserError(
                Problem("", "no glyph was found whose digit is sure", "train longer what it learns them from")
            )
        self.digits, self.size, self.device = digits, size, device
        self.images = torch.from_numpy(glyphs.images)[:, None].to(device)
        self.names = torch.from_numpy(glyphs.digits).to(device)
        self.beside = augment.shift if augment else 0.0
        self.augment = create_augmenter(
            augment and augment.model_copy(update={"shift": min(self.beside, 0.5)})
        )

    def __call__(self, rows: Rows, layout: Seed, augment: Seed | None) -> ComposedBatch:
        """The images of these row numbers.

        Args:
            rows: int64 (B,).
            layout: the seed by which glyphs and places are drawn.
            augment: the seed of what happens to glyphs and looks; None leaves them as they are.
        """
        which, places, looks = self.draw(rows, layout, augmented=augment is not None)
        numbers = torch.as_tensor(rows).to(self.images.device)[:, None] * self.digits
        each = (numbers + torch.arange(self.digits, device=self.images.device)).flatten()
        glyphs = self.images[which.flatten()]
        if augment is None:
            glyphs = glyphs.float()
        else:
            glyphs = self.augment(glyphs, each if isinstance(rows, Tensor) else each.numpy(), augment)
        return ComposedBatch(self._paste(glyphs, places), self.names[which], places, looks)

    def draw(self, rows: Rows, seed: Seed, augmented: bool) -> tuple[Tensor, Tensor, Tensor]:
        """What images are to show: glyphs int64 (B, S), their places and the looks, int64 (B, S, 2)."""
        height, width = self.size
        drawn = draw_uniforms(seed, rows, 5 * self.digits, self.images.device).view(-1, self.digits, 5)
        which = (drawn[..., 0] * len(self.names)).long().clamp_max(len(self.names) - 1)
        first = drawn[:, :1, 1] * (FIRST + 2 * SLACK + 1) - SLACK
        steps = drawn[:, 1:, 1] * (STEP_HIGH - STEP_LOW + 2 * SLACK + 1) + (STEP_LOW - SLACK)
        left = torch.cat([first, steps], dim=1).floor().long().cumsum(1).clamp_max(width - SIDE + SLACK)
        top = (drawn[..., 2] * (height - SIDE + 2 * SLACK + 1)).long() - SLACK
        places = torch.stack([top, left], dim=2)
        beside = (2 * drawn[..., 3:] - 1) * (self.beside if augmented else 0.0)
        return which, places, places + beside.round().long()

    def _paste(self, glyphs: Tensor, places: Tensor) -> Tensor:
        """float (B * S, 1, 28, 28) in boxes that begin at int64 (B, S, 2) -> float (B, 1, H, W)."""
        height, width = (side + 2 * SLACK for side in self.size)
        side = torch.arange(SIDE, device=glyphs.device)
        down, across = (places[..., axis, None] + SLACK + side for axis in (0, 1))
        where = (down[..., :, None] * width + across[..., None, :]).flatten(1)
        canvas = torch.zeros(len(places), height * width, device=glyphs.device)
        canvas = canvas.scatter_reduce(1, where, glyphs.reshape(len(places), -1), "amax")
        return canvas.view(-1, 1, height, width)[:, :, SLACK : height - SLACK, SLACK : width - SLACK]


class CompositionLearner(Learner):
    """Learns from composed images: as many an epoch as there are rows, each of known digits and places."""

    drawn = ("layout", "augment")

    def __init__(self, glyphs: Glyphs, size: tuple[int, int], *learner: Any) -> None:
        super().__init__(*learner)
        digits = self.network.task.hidden_digits
        assert digits is not None, "a pipeline says how many digits hide where glyphs are asked for"
        self.compose = Composer(glyphs, digits, size, self.member.augment, self.compute_config.device)

    def _forward(self, epoch: int, batch: Split, mixing: Mixing | None) -> tuple[Tensor, Tensor, Tensor]:
        """The cross-entropy of digits and, where the network looks for them, the loss of their places."""
        augment = self._seed("augment", epoch) if self.is_augmented(epoch) else None
        composed = self.compose(batch.rows, self._seed("layout", epoch), augment)
        images = self.compute_config.to_memory_format(self.normalisation(composed.images))
        model, elsewhere = self.network.model, torch.zeros((), device=images.device)
        with self.compute_config.autocast():
            if isinstance(model, CropReader):
                outputs, elsewhere = model.teacher_force(images, composed.places, composed.looks)
            else:
                outputs = model(images)
        loss = functional.cross_entropy(outputs.float().view(-1, DIGITS), composed.digits.flatten())
        return loss + elsewhere, outputs, composed.digits.sum(dim=1)
