"""inference.views: each view does to an image what its keys say, the same in training and prediction."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
import torch
from conftest import Digits
from pydantic import TypeAdapter
from torch import Tensor
from torch.nn import functional

from softvote.config.augment import Augment
from softvote.config.views import View
from softvote.inference.views import VIEWS, apply_view, is_random, with_view
from softvote.training.augment import create_augmenter

SPECS: dict[str, dict[str, Any]] = {
    "crop": {"name": "crop", "size": 20},
    "deskew": {"name": "deskew"},
    "box": {"name": "box", "width": 16},
}
views = pytest.mark.parametrize("name", SPECS)


def spec(name: str, **keys: Any) -> View:
    found: View = TypeAdapter(View).validate_python(SPECS[name] | keys)
    return found


def some(digits: Digits, count: int = 12) -> Tensor:
    """uint8 (count, 1, 24, 24)."""
    return torch.from_numpy(np.kron(digits[0][:count], np.ones((1, 3, 3), np.uint8))[:, None])


def bar(slope: float, height: int = 28, width: int = 28) -> Tensor:
    """A soft bar 16 pixels high that leans by so many columns a row; float (1, 1, H, W)."""
    y = torch.arange(height).view(-1, 1) - (height - 1) / 2
    x = torch.arange(width).view(1, -1) - (width - 1) / 2
    level = (2.5 - (x - slope * y).abs()).clamp(0, 1) * (y.abs() < 8)
    return 255 * level[None, None]


def test_every_view_has_keys_and_a_function() -> None:
    kinds = get_args(get_args(View)[0])
    assert {get_args(kind.model_fields["name"].annotation)[0] for kind in kinds} == set(VIEWS) == set(SPECS)


@views
def test_shape_and_type_stay(name: str) -> None:
    images = torch.rand(3, 2, 30, 26) * 255
    seen = apply_view(spec(name), images)
    assert seen.shape == images.shape and seen.dtype == torch.float32
    assert float(seen.min()) >= 0 and float(seen.max()) <= 255.1
    assert not torch.allclose(seen, images)


def test_without_a_view_images_stay() -> None:
    images = torch.rand(2, 1, 9, 9)
    assert apply_view(None, images) is images


@views
@pytest.mark.parametrize("level", [0.0, 255.0])
def test_blank_images(name: str, level: float) -> None:
    seen = apply_view(
        spec(name, **({"width": 24} if name == "box" else {})), torch.full((2, 1, 24, 24), level)
    )
    assert seen.isfinite().all() and (seen[:, :, 4:20, 4:20] == level).all()


@views
def test_each_image_by_itself(name: str, digits: Digits) -> None:
    images, rows = some(digits), np.arange(100, 112)
    for at_random in (False, True):
        see = with_view(create_augmenter(None), spec(name), at_random)
        whole = see(images, rows, 7)
        alone = [see(images[i : i + 1], rows[i : i + 1], 7) for i in range(12)]
        torch.testing.assert_close(torch.cat(alone), whole, rtol=0, atol=1e-3)


@views
def test_training_sees_what_prediction_sees_unless_it_is_random(name: str, digits: Digits) -> None:
    images, rows = some(digits), np.arange(12)
    first, second = (
        with_view(create_augmenter(None), spec(name), at_random=True)(images, rows, seed) for seed in (1, 2)
    )
    predicted = apply_view(spec(name), images.float())
    assert is_random(spec(name)) is (name == "crop")
    assert torch.equal(first, second) is (not is_random(spec(name)))
    assert torch.equal(first, predicted) is (not is_random(spec(name)))
    fixed = with_view(create_augmenter(None), spec(name), at_random=False)(images, rows, 1)
    assert torch.equal(fixed, predicted)


def test_augmentation_draws_the_same_beside_a_view(digits: Digits) -> None:
    images, rows = some(digits), np.arange(12)
    augment = create_augmenter(Augment(rotate=10, shift=2, elastic=1))
    seen = with_view(augment, spec("deskew"), at_random=True)(images, rows, 3)
    assert torch.equal(seen, apply_view(spec("deskew"), augment(images, rows, 3)))


# ---------------------------------------------------------------- crop


@pytest.mark.parametrize(("height", "width", "size"), [(28, 28, 25), (28, 28, 14), (20, 40, 10)])
def test_the_middle_enlarged(height: int, width: int, size: int) -> None:
    images = functional.avg_pool2d(torch.rand(2, 1, height + 4, width + 4), 5, stride=1) * 255
    seen = apply_view(spec("crop", size=size), images)
    share = size / 20 if height == 20 else size / 28
    maps = torch.tensor([[share, 0.0, 0.0], [0.0, share, 0.0]]).expand(2, 2, 3)
    grid = functional.affine_grid(maps, list(images.shape), align_corners=False)
    torch.testing.assert_close(seen, functional.grid_sample(images, grid, align_corners=False))


def test_what_is_drawn_is_where_the_crop_begins() -> None:
    images = torch.zeros(4, 1, 28, 28)
    images[:, :, :14, :14], images[:, :, 14:, 14:] = 50.0, 200.0
    drawn = torch.tensor([[0.0, 0.0], [1.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    seen = apply_view(spec("crop", size=14), images, drawn)[:, 0, 1:-1, 1:-1]
    for image, level in zip(seen, (50.0, 200.0, 0.0, 0.0), strict=True):
        torch.testing.assert_close(image, torch.full_like(image, level))


def test_random_crops_reach_all_that_is_left() -> None:
    images = (torch.arange(28.0) * 9).expand(500, 1, 28, 28)  # as bright as it is far to the right
    see = with_view(lambda i, r, s: i, spec("crop", size=25), at_random=True)
    middles = see(images, np.arange(500), 5)[:, 0, 14, 13:15].mean(1) / 9  # column of the middle
    starts = middles - 12
    assert 0 <= float(starts.min()) < 0.05 and 2.95 < float(starts.max()) <= 3
    assert float(starts.mean()) == pytest.approx(1.5, abs=0.15)
    rows = see(images.transpose(2, 3), np.arange(500), 5)[:, 0, 13:15, 14].mean(1) / 9
    assert abs(float(np.corrcoef(middles.numpy(), rows.numpy())[0, 1])) < 0.15


# ---------------------------------------------------------------- deskew


@pytest.mark.parametrize("slope", [-0.6, -0.2, 0.0, 0.4])
@pytest.mark.parametrize(("height", "width"), [(28, 28), (28, 44)])
def test_a_leaning_bar_stands_upright(slope: float, height: int, width: int) -> None:
    seen = apply_view(spec("deskew"), bar(slope, height, width))
    torch.testing.assert_close(seen, bar(0.0, height, width), rtol=0, atol=130)
    off = (seen - bar(0.0, height, width)).abs()
    assert float(off.sum()) < 0.2 * float(seen.sum()) and (off[..., 8:20, :] < 70).all(), off.max()


def test_the_centre_of_mass_stays() -> None:
    image = torch.roll(bar(0.5), (3, -4), (2, 3))
    seen = apply_view(spec("deskew"), image)
    for axis in (2, 3):
        index = torch.arange(28.0)
        before, after = ((each.sum(5 - axis) * index).sum() / each.sum() for each in (image, seen))
        assert float(after) == pytest.approx(float(before), abs=0.02)


def test_beyond_45_degrees_is_no_slant() -> None:
    image = torch.zeros(1, 1, 28, 28)
    image[..., 13, 2:14], image[..., 14, 14:26] = 255.0, 255.0  # a dash, one step in it
    assert float(apply_view(spec("deskew"), image).sum()) == pytest.approx(float(image.sum()), rel=0.05)


# ---------------------------------------------------------------- box


@pytest.mark.parametrize("width", [6, 16, 20])
@pytest.mark.parametrize(("first", "last"), [(3, 12), (12, 15), (2, 25)])
def test_the_box_has_the_width(first: int, last: int, width: int) -> None:
    image = torch.zeros(1, 2, 28, 28)
    image[:, 1, 5:20, first : last + 1] = 200.0  # in one channel
    image[:, 0, :, 0] = 10.0  # background
    seen = apply_view(spec("box", width=width), image)[0, 1]
    assert float(seen[5:20].sum()) == pytest.approx(200 * 15 * width, rel=0.03)
    columns = torch.arange(28.0)
    assert float((seen.sum(0) * columns).sum() / seen.sum()) == pytest.approx(13.5, abs=0.01)
    rows = (seen > 0).any(1).nonzero().flatten()
    assert (int(rows[0]), int(rows[-1])) == (5, 19)
