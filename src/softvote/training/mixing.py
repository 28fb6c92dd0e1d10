"""Mixing: the images of a batch with those of the batch in reverse, and their losses alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from softvote.compute.draws import Rows, Seed, draw_uniforms
from softvote.seeds import derive_seed

if TYPE_CHECKING:
    from softvote.config.recipe import Recipe

MixingKind = Literal["mixup", "cutmix"]


@dataclass(frozen=True)
class Mixing:
    """How one batch is mixed.

    Attributes:
        kind: `mixup` blends pairs (Zhang et al. 2018), `cutmix` pastes a rectangle (Yun et al. 2019).
        share: how much of each image stays itself, 0..1; a tensor () where a recorded step reads it from
            memory.
    """

    kind: MixingKind
    share: float | Tensor

    def mix(self, images: Tensor, rows: Rows, seed: Seed) -> tuple[Tensor, Mixing]:
        """The images mixed, and the mixing with the share that they then have.

        Args:
            images: float (B, C, H, W).
            rows: int64 (B,), by which rectangles are placed.
            seed: of the epoch.
        """
        if self.kind == "mixup":
            return self.share * images + (1 - self.share) * images.flip(0), self
        height, width = images.shape[-2:]
        # Whole rectangles, so that one share is all images', wherever they lie.
        side = (1 - torch.as_tensor(self.share, dtype=torch.float32, device=images.device)).sqrt()
        high, wide = (side * height).round(), (side * width).round()
        drawn = draw_uniforms(seed, rows, 2, images.device)
        inside_y = _inside(torch.floor(drawn[:, 0] * (height - high + 1)), high, height)
        inside_x = _inside(torch.floor(drawn[:, 1] * (width - wide + 1)), wide, width)
        pasted = inside_y[:, None, :, None] & inside_x[:, None, None, :]
        share = 1 - high * wide / (height * width)
        return torch.where(pasted, images.flip(0), images), Mixing(self.kind, share)

    def mix_losses(self, own: Tensor, other: Tensor) -> Tensor:
        """The loss of images that are so mixed, (B,).

        Args:
            own: float (B,), the losses against their own labels.
            other: float (B,), those against the labels of what they are mixed with.
        """
        return self.share * own + (1 - self.share) * other

    def of_larger_part(self, labels: Tensor) -> Tensor:
        """The labels, (B, ...), of what there is more of in each image."""
        if self.kind == "mixup":  # which draws no share below half
            return labels
        return torch.where(torch.as_tensor(self.share, device=labels.device) < 0.5, labels.flip(0), labels)


def draw_mixing(recipe: Recipe, seed: int, epoch: int, number: int) -> Mixing | None:
    """How the batch of that number in an epoch is mixed; None where it is not.

    Where a recipe asks for both kinds, each batch takes one of them, both equally often.
    """
    kinds: list[MixingKind] = [kind for kind in _KINDS if getattr(recipe, kind)]
    if not kinds:
        return None
    kind = kinds[0]
    if len(kinds) > 1:
        random = np.random.default_rng(derive_seed(seed, "mixing", epoch, number))
        kind = kinds[int(random.integers(len(kinds)))]
    random = np.random.default_rng(derive_seed(seed, kind, epoch, number))
    alpha = getattr(recipe, kind)
    share = float(random.beta(alpha, alpha))
    if kind == "mixup":
        # The same mixtures, with the label of the larger part as the one to get right.
        share = max(share, 1 - share)
    return Mixing(kind, share) if share < 1 else None


_KINDS: tuple[MixingKind, ...] = ("mixup", "cutmix")


def _inside(start: Tensor, length: Tensor, side: int) -> Tensor:
    """bool (B, side): which pixels of a side lie in stretches of one length from their starts, (B,)."""
    pixels = torch.arange(side, device=start.device)
    return (pixels >= start[:, None]) & (pixels < start[:, None] + length)
