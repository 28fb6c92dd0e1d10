"""softvote.inference.tta: the views that are averaged."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Digits
from torch import Tensor

from softvote.config.views import TestTime
from softvote.errors import UserError
from softvote.inference.tta import create_views


def some(digits: Digits, count: int = 6) -> Tensor:
    return torch.from_numpy(digits[0][:count])[:, None]


def test_shifts_are_four_beside_the_image(digits: Digits) -> None:
    images = some(digits)
    same, down, up, right, left = create_views(images, TestTime(shift=2))
    assert torch.equal(same, images)
    assert torch.equal(down[:, :, 2:], images[:, :, :-2]) and not down[:, :, :2].any()
    assert torch.equal(up[:, :, :-2], images[:, :, 2:]) and not up[:, :, -2:].any()
    assert torch.equal(right[..., 2:], images[..., :-2]) and not right[..., :2].any()
    assert torch.equal(left[..., :-2], images[..., 2:]) and not left[..., -2:].any()


def test_nothing_asked_for_is_one_view(digits: Digits) -> None:
    images = some(digits)
    (view,) = create_views(images, TestTime())
    assert view is images and TestTime().count == 1


SYMMETRIES = [
    dict(zip(("horizontal_flip", "vertical_flip", "quarter_turns"), asked, strict=True))
    for asked in itertools.product((False, True), repeat=3)
]


@pytest.mark.parametrize(
    "positions", [{}, {"shift": 1}, {"five_crops": 0.75}, {"shift": 1, "five_crops": 0.75}]
)
@pytest.mark.parametrize("symmetries", SYMMETRIES)
def test_there_are_as_many_views_as_are_counted_and_no_two_alike(
    positions: dict[str, Any], symmetries: dict[str, bool]
) -> None:
    images = torch.randint(0, 256, (2, 3, 12, 12), generator=torch.Generator().manual_seed(0)).byte()
    spec = TestTime.model_validate(positions | symmetries)
    views = create_views(images, spec)
    assert len(views) == spec.count and {view.shape for view in views} == {images.shape}
    assert len({tuple(view.float().flatten().tolist()) for view in views}) == spec.count


@pytest.mark.parametrize("symmetries", SYMMETRIES)
def test_a_symmetry_of_the_image_gives_the_same_views(symmetries: dict[str, bool]) -> None:
    """So that what is predicted does not depend on which way up an image was taken."""
    images = torch.randint(0, 256, (1, 1, 8, 8), generator=torch.Generator().manual_seed(0)).byte()
    spec = TestTime.model_validate({"shift": 1} | symmetries)

    def seen(images: Tensor) -> set[tuple[int, ...]]:
        return {tuple(view.flatten().tolist()) for view in create_views(images, spec)}

    assert (seen(images.flip(-1)) == seen(images)) == (
        spec.horizontal_flip or (spec.vertical_flip and spec.quarter_turns)
    )
    assert (seen(torch.rot90(images, 1, (-2, -1))) == seen(images)) == spec.quarter_turns


def test_crops_are_the_corners_and_the_middle_enlarged() -> None:
    images = torch.arange(16.0).expand(1, 1, 16, 16) + 16 * torch.arange(16.0).view(16, 1)
    views = create_views(images, TestTime(five_crops=0.5))[1:]
    assert [round(float(view.mean()), 2) for view in views] == [59.5, 67.5, 187.5, 195.5, 127.5]
    np.testing.assert_allclose([float(view.amax() - view.amin()) for view in views], 7 * 17)


@pytest.mark.parametrize(
    ("spec", "shape", "says"),
    [
        ({"shift": 8}, (8, 8), "^tta.shift: 8 moves images of 8 x 8 out of sight; use 1 or 2$"),
        ({"shift": 9}, (8, 20), "^tta.shift: 9 moves images of 8 x 20 out of sight; use 1 or 2$"),
        ({"shift": 8}, (20, 8), "^tta.shift: 8 moves images of 20 x 8 out of sight; use 1 or 2$"),
        ({"quarter_turns": True}, (8, 9), "^tta.quarter_turns: turns square images, and these are 8 x 9"),
    ],
)
def test_images_that_it_is_not_for(spec: dict[str, Any], shape: tuple[int, int], says: str) -> None:
    with pytest.raises(UserError, match=says):
        create_views(torch.zeros(1, 1, *shape), TestTime.model_validate(spec))


KEYS = [
    {"shift": 1}, {"five_crops": 0.75}, {"horizontal_flip": True}, {"vertical_flip": True},
    {"quarter_turns": True},
]  # fmt: skip


@pytest.mark.parametrize("spec", KEYS)
def test_views_can_be_traced_for_any_number_of_images(spec: dict[str, Any]) -> None:
    class Seeing(torch.nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return torch.stack([view.float() for view in create_views(images, views)])

    def images(count: int) -> Tensor:
        return torch.randint(0, 256, (count, 3, 12, 12), dtype=torch.uint8)

    views = TestTime.model_validate(spec)
    batch = ({0: torch.export.Dim("batch")},)
    traced = torch.export.export(Seeing(), (images(3),), dynamic_shapes=batch, strict=True)
    five = images(5)
    assert torch.equal(traced.module()(five), Seeing()(five))
