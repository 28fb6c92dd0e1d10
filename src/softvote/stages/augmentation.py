"""Augmentation: a picture of what a member's augmentation does to sixteen training images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from softvote.config.recipe import Member
from softvote.data.dataset import read_dataset
from softvote.errors import UserError, one_of
from softvote.reporting.plots import image_grid
from softvote.seeds import augmentation_seed, derive_seed, training_seed
from softvote.stages import Run
from softvote.stages.pictures import Picture

_IMAGES = 16
_EPOCHS = 4
_FOLD = 0  # the training whose epochs are shown


def run(run: Run, member_name: str | None = None) -> Picture:
    """Draw sixteen training images as they are and as the first four epochs of fold 0 see them.

    Where a recipe mixes images, the sixteen are a batch.

    Raises:
        UserError: no such member, or one without augmentation.
    """
    name = member_name or next((name for name, each in run.pipeline.members.items() if _changes(each)), None)
    name = name or next(iter(run.pipeline.members))
    if name not in run.pipeline.members:
        raise UserError.at("`member`", f"no member '{name}'", one_of(list(run.pipeline.members), name))
    member = run.pipeline.members[name]
    if not _changes(member):
        raise UserError.at(
            f"members.{name}", "has no augmentation to show", "add augment: {rotate: 10} or choose another"
        )
    dataset = read_dataset(run.pipeline.competition, run.workspace)
    rows = np.linspace(0, len(dataset.train_labels) - 1, _IMAGES).astype(np.int64)
    images = np.ascontiguousarray(dataset.train_pixels[rows])
    seed = training_seed(run.pipeline.seed, name, _FOLD)
    shown = [images, *(_as_epoch_sees(member, images, rows, seed, epoch) for epoch in range(_EPOCHS))]
    titles = [[f"row {row}" for row in rows], *([f"epoch {epoch + 1}"] * _IMAGES for epoch in range(_EPOCHS))]
    path = run.folder.predictions(name).augmentation
    image_grid(path, shown, titles, f"{run.name}, {name}: {_in_words(member)}")
    return Picture(path)


def _changes(member: Member) -> bool:
    """Whether training sees other images than there are."""
    return member.augment is not None or bool(member.mixup or member.cutmix)


def _in_words(member: Member) -> str:
    """What is done to images: `batched rotate 10 cutmix 1`."""
    augment = [f"{member.augment.engine} {member.augment.amounts()}"] if member.augment else []
    mixed = [f"{kind} {alpha:g}" for kind in ("mixup", "cutmix") if (alpha := getattr(member, kind))]
    return " ".join([*augment, *mixed])


def _as_epoch_sees(
    member: Member, images: NDArray[np.uint8], rows: NDArray[np.int64], seed: int, epoch: int
) -> NDArray[np.uint8]:
    """Images uint8 (n, C, H, W) as an epoch of the training of that seed is fed them, epochs from 0."""
    import torch

    from softvote.inference.views import with_view
    from softvote.training.augment import create_augmenter
    from softvote.training.mixing import draw_mixing

    change = with_view(create_augmenter(member.augment), member.view, at_random=True)
    changed = change(torch.from_numpy(images), rows, augmentation_seed(seed, epoch))
    if mixing := draw_mixing(member, seed, epoch, 0):
        changed, _ = mixing.mix(changed, rows, derive_seed(seed, "cutmix", epoch))
    found: NDArray[np.uint8] = changed.round().clamp(0, 255).byte().numpy()
    return found
