"""Augmentation: a picture of what a member's augmentation does to sixteen training images."""

from __future__ import annotations

import numpy as np

from softvote.data.dataset import read_dataset
from softvote.errors import UserError, one_of
from softvote.reporting.plots import image_grid
from softvote.seeds import augmentation_seed, training_seed
from softvote.stages import Run
from softvote.stages.pictures import Picture

_IMAGES = 16
_EPOCHS = 4
_FOLD = 0  # the training whose epochs are shown


def run(run: Run, member_name: str | None = None) -> Picture:
    """Draw sixteen training images as they are and as the first four epochs of fold 0 see them.

    Raises:
        UserError: no such member, or one without augmentation.
    """
    import torch

    from softvote.inference.views import with_view
    from softvote.training.augment import create_augmenter

    members = run.pipeline.members
    name = member_name or next((name for name in members if members[name].augment), next(iter(members)))
    if name not in members:
        raise UserError.at("`member`", f"no member '{name}'", one_of(list(members), name))
    augment = members[name].augment
    if augment is None:
        raise UserError.at(
            f"members.{name}", "has no augmentation to show", "add augment: {rotate: 10} or choose another"
        )
    dataset = read_dataset(run.pipeline.competition, run.workspace)
    rows = np.linspace(0, len(dataset.train_labels) - 1, _IMAGES).astype(np.int64)
    images = torch.from_numpy(np.ascontiguousarray(dataset.train_pixels[rows]))
    change = with_view(create_augmenter(augment), members[name].view, at_random=True)
    shown = [images.numpy()]
    for epoch in range(_EPOCHS):
        seed = augmentation_seed(training_seed(run.pipeline.seed, name, _FOLD), epoch)
        shown.append(change(images, rows, seed).round().clamp(0, 255).byte().numpy())
    titles = [[f"row {row}" for row in rows], *([f"epoch {epoch + 1}"] * _IMAGES for epoch in range(_EPOCHS))]
    path = run.folder.predictions(name).augmentation
    image_grid(path, shown, titles, f"{run.name}, {name}: {augment.engine} {augment.amounts()}")
    return Picture(path)
