"""Images composed of glyphs: what they show, that they are the generator's, and that they teach."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from digit_images import HEIGHT, WIDTH, blots, compose_rows, reader
from torch import Tensor

from softvote.config.augment import Augment
from softvote.data.digit_layout import FIRST, SIDE, STEP_HIGH, STEP_LOW
from softvote.errors import UserError
from softvote.models.crop_reader import SLACK, CropReader
from softvote.task import Task
from softvote.training.glyphs import Glyphs
from softvote.training.recomposition import ComposedBatch, Composer, CompositionLearner
from softvote.training.train import TrainingSpec, train

SIZE = (HEIGHT, WIDTH)


def glyphs(count: int = 50) -> Glyphs:
    return Glyphs(blots(count), np.arange(count) % 10)


def composer(augment: Augment | None = None) -> Composer:
    return Composer(glyphs(), 4, SIZE, augment, "cpu")


def test_each_image_is_its_glyphs_in_their_places() -> None:
    compose, rows = composer(), np.arange(100)
    composed, (which, places, _) = compose(rows, 1, None), compose.draw(rows, 1, False)
    for image, drawn, boxes in zip(composed.images, which, places + SLACK, strict=True):
        expected = np.zeros((HEIGHT + 2 * SLACK, WIDTH + 2 * SLACK), np.uint8)
        for glyph, (top, left) in zip(drawn.tolist(), boxes.tolist(), strict=True):
            box = expected[top : top + SIDE, left : left + SIDE]
            box[:] = np.maximum(box, glyphs().images[glyph])
        np.testing.assert_array_equal(image[0].numpy(), expected[SLACK:-SLACK, SLACK:-SLACK])
    assert torch.equal(composed.digits, which % 10) and torch.equal(composed.places, places)
    assert len(which.unique()) == 50


def test_places_are_those_of_the_layout() -> None:
    places = composer()(np.arange(8000), 2, None).places
    top, left = places.unbind(2)
    assert (int(top.min()), int(top.max())) == (-SLACK, HEIGHT - SIDE + SLACK)
    assert (int(left[:, 0].min()), int(left[:, 0].max())) == (-SLACK, FIRST + SLACK)
    steps = left.diff(dim=1)
    assert (int(steps.min()), int(steps.max())) == (STEP_LOW - SLACK, STEP_HIGH + SLACK)
    assert abs(float(steps.float().mean()) - (STEP_LOW + STEP_HIGH) / 2) < 0.3
    assert int(left.max()) == min(FIRST + 3 * STEP_HIGH + 4 * SLACK, WIDTH - SIDE + SLACK)


def test_an_image_depends_on_seeds_and_row_alone() -> None:
    compose = composer(Augment(rotate=20, elastic=2, shift=2))
    whole, part = compose(np.arange(10), 3, 4), compose(np.array([7, 2]), 3, 4)
    torch.testing.assert_close(whole.images[[7, 2]], part.images)
    assert torch.equal(whole.looks[[7, 2]], part.looks)
    on_device = compose(torch.arange(10), 3, 4)  # as on a GPU, where row numbers lie beside the glyphs
    torch.testing.assert_close(whole.images, on_device.images)
    other = compose(np.arange(10), 5, 4)
    assert not torch.equal(whole.places, other.places) and not torch.equal(whole.digits, other.digits)


def test_shift_moves_the_look_and_augmentation_the_glyphs() -> None:
    plain, compose = composer(), composer(Augment(rotate=20, shift=2))
    rows = np.arange(200)
    before, after = plain(rows, 5, 6), compose(rows, 5, 6)
    assert torch.equal(before.places, after.places) and torch.equal(before.digits, after.digits)
    assert torch.equal(before.looks, before.places) and not torch.equal(before.images, after.images)
    beside = after.looks - after.places
    assert (int(beside.min()), int(beside.max())) == (-2, 2)
    last = compose(rows, 5, None)
    assert torch.equal(last.images, before.images) and torch.equal(last.looks, last.places)


def test_no_glyphs() -> None:
    nothing = Glyphs(np.zeros((0, SIDE, SIDE), np.uint8), np.zeros(0, np.int64))
    with pytest.raises(UserError, match="no glyph was found whose digit is sure"):
        Composer(nothing, 4, SIZE, None, "cpu")


@pytest.mark.parametrize("model", ["crop_reader", pytest.param("slot_cnn", marks=pytest.mark.slow)])
def test_glyphs_teach_and_rows_of_their_own_do_not(model: str) -> None:
    args = {"classifier": "basic_cnn"} if model == "crop_reader" else {}
    done = train(
        TrainingSpec(reader(model=model, model_args=args, epochs=6), Task(19, 2), 0, "it"), compose_rows(96)
    )
    assert done.images_per_epoch == 96
    first, last = done.log[0], done.log[-1]
    assert last["loss"] < 0.7 * first["loss"]
    assert isinstance(done.network.model, CropReader) == (model == "crop_reader")


def test_each_epoch_composes_other_images_and_counts_right_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    composed, counted = list[ComposedBatch](), list[Tensor]()
    compose, forward = Composer.__call__, CompositionLearner._forward

    def note(this: CompositionLearner, *batch: Any) -> tuple[Tensor, Tensor, Tensor]:
        found = forward(this, *batch)
        counted.append(found[2])
        return found

    monkeypatch.setattr(CompositionLearner, "_forward", note)
    monkeypatch.setattr(Composer, "__call__", lambda *of: composed.append(compose(*of)) or composed[-1])
    train(TrainingSpec(reader(epochs=2, batch_size=32), Task(19, 2), 0, "it"), compose_rows(32))
    first, second = composed
    places = [sorted(each.places.flatten(1).tolist()) for each in composed]  # whatever the order of rows
    assert places[0] != places[1]
    assert torch.equal(torch.cat(counted), torch.cat([first.digits, second.digits]).sum(1))


def test_the_seed_decides_the_weights() -> None:
    once, again, other = (
        train(TrainingSpec(reader(), Task(19, 2), seed, "it"), compose_rows(32)) for seed in (0, 0, 1)
    )
    states = [done.network.model.state_dict() for done in (once, again, other)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not all(torch.equal(states[0][name], states[2][name]) for name in states[0])
