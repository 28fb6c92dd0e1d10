"""softvote.training.augment: both engines do what the specification's units say, to each image by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from conftest import Digits
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from softvote.config.augment import Augment
from softvote.seeds import derive_seed
from softvote.training.augment import ENGINES, create_augmenter
from softvote.training.movement import affine_grid, elastic_field

engines = pytest.mark.parametrize("engine", ENGINES)

EVERYTHING: dict[str, Any] = {
    "rotate": 20, "scale": 0.2, "shear": 10, "shift": 2, "elastic": 1, "horizontal_flip": 0.5,
}  # fmt: skip
COUNT = 150


def augment(engine: str, images: Tensor, rows: Any = None, seed: int = 0, **amounts: Any) -> Tensor:
    """The images with some amounts of augmentation, as rows 0, 1, ... unless others are given."""
    spec = Augment.model_validate({"engine": engine} | amounts)
    rows = np.arange(len(images)) if rows is None else np.asarray(rows)
    return create_augmenter(spec)(images, rows.astype(np.int64), seed)


def some(digits: Digits, count: int = 12) -> Tensor:
    return torch.from_numpy(np.kron(digits[0][:count], np.ones((1, 3, 3), np.uint8))[:, None])


def disc(height: int, width: int, x: float, y: float, radius: float, count: int = COUNT) -> Tensor:
    """Copies of a soft white disc, its middle at so many pixels from the image's; uint8 (count, 1, H, W)."""
    rows = torch.arange(height).view(-1, 1) - (height - 1) / 2 - y
    columns = torch.arange(width).view(1, -1) - (width - 1) / 2 - x
    level = ((radius + 0.5 - (rows**2 + columns**2).sqrt()) * 255).clamp(0, 255)
    return level.round().byte().expand(count, 1, height, width).contiguous()


def middles(images: Tensor) -> NDArray[np.float64]:
    """Where the mass of each image is, from its middle: float64 (B, 2) of x and y in pixels."""
    mass = images[:, 0].double()
    height, width = mass.shape[1:]
    total = mass.sum((1, 2))
    x = (mass.sum(1) * (torch.arange(width) - (width - 1) / 2)).sum(1) / total
    y = (mass.sum(2) * (torch.arange(height) - (height - 1) / 2)).sum(1) / total
    return torch.stack([x, y], 1).numpy()


def spreads(images: Tensor) -> NDArray[np.float64]:
    """Standard deviations of the mass along x and y, and their correlation: float64 (B, 3)."""
    found = []
    for image in images[:, 0].double().numpy():
        rows, columns = np.indices(image.shape)
        cov = np.cov(np.stack([columns.ravel(), rows.ravel()]), aweights=image.ravel() + 1e-9)
        found.append([*np.sqrt(np.diag(cov)), cov[0, 1] / np.sqrt(cov[0, 0] * cov[1, 1])])
    return np.array(found)


# ---------------------------------------------------------------- each image by itself


@engines
def test_the_same_row_and_seed_give_the_same_whatever_the_batch(engine: str, digits: Digits) -> None:
    images, rows = some(digits), np.arange(100, 112)
    whole = augment(engine, images, rows, 7, **EVERYTHING)
    order = np.array([5, 0, 11, 3])
    assert torch.equal(augment(engine, images[order], rows[order], 7, **EVERYTHING), whole[order])
    alone = [augment(engine, images[i : i + 1], rows[i : i + 1], 7, **EVERYTHING) for i in range(12)]
    assert torch.equal(torch.cat(alone), whole)


@engines
def test_two_augmenters_of_one_specification_agree(engine: str, digits: Digits) -> None:
    images = some(digits)
    first = augment(engine, images, **EVERYTHING)
    augment(engine, images, seed=99, **EVERYTHING)
    assert torch.equal(augment(engine, images, **EVERYTHING), first)


@engines
def test_another_epoch_or_row_differs(engine: str, digits: Digits) -> None:
    images = some(digits, 1).expand(12, 1, 24, 24)
    first = augment(engine, images, seed=derive_seed(0, "augment", 0), **EVERYTHING)
    second = augment(engine, images, seed=derive_seed(0, "augment", 1), **EVERYTHING)
    assert all((a != b).any() for a, b in zip(first, second, strict=True))
    assert len({tuple(image.reshape(-1).tolist()) for image in first}) == 12


@engines
@pytest.mark.parametrize("shape", [(1, 1, 8, 8), (3, 1, 40, 24), (4, 3, 28, 28)])
def test_shapes_types_and_range(engine: str, shape: tuple[int, int, int, int]) -> None:
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    before = images.clone()
    found = augment(engine, images, **EVERYTHING)
    assert found.shape == images.shape and found.dtype == torch.float32
    assert found.min() >= 0 and found.max() <= 255.01 and found.max() > 100
    assert torch.equal(images, before)


@engines
def test_nothing_asked_for_is_nothing_done(engine: str, digits: Digits) -> None:
    images = some(digits)
    torch.testing.assert_close(augment(engine, images), images.float(), rtol=0, atol=0.01)


@pytest.mark.parametrize("shape", [[3, 1, 28, 28], [2, 3, 40, 168], [4, 1, 5, 9]])
def test_where_pixels_come_from_is_as_pytorch_computes_it(shape: list[int]) -> None:
    random, (height, width) = torch.Generator().manual_seed(0), shape[2:]
    maps = torch.randn(shape[0], 2, 3, generator=random)
    expected = functional.affine_grid(maps, shape, align_corners=False)
    torch.testing.assert_close(affine_grid(maps, shape), expected)

    drawn = torch.rand(shape[0], 32, generator=random) * 2 - 1
    field = functional.interpolate(
        drawn.view(-1, 2, 4, 4), size=(height, width), mode="bicubic", align_corners=True
    )
    expected = field.permute(0, 2, 3, 1) * torch.tensor([2 * 1.5 / width, 2 * 1.5 / height])
    torch.testing.assert_close(elastic_field(Augment(elastic=1.5), drawn, shape), expected)


def test_without_a_specification_images_pass(digits: Digits) -> None:
    images = some(digits)
    assert torch.equal(create_augmenter(None)(images, np.arange(12), 0), images.float())


@engines
def test_channels_move_together(engine: str, digits: Digits) -> None:
    images = some(digits).expand(-1, 3, -1, -1)
    found = augment(engine, images, **EVERYTHING)
    torch.testing.assert_close(found[:, 0], found[:, 1], rtol=0, atol=1e-3)
    torch.testing.assert_close(found[:, 0], found[:, 2], rtol=0, atol=1e-3)


# ---------------------------------------------------------------- units

SHAPES = [(41, 41), (31, 61), (61, 31)]


@engines
@pytest.mark.parametrize(("height", "width"), SHAPES)
@pytest.mark.parametrize("pixels", [1, 4])
def test_shift_is_pixels_along_each_axis(engine: str, height: int, width: int, pixels: int) -> None:
    moved = middles(augment(engine, disc(height, width, 2, -3, 4), shift=pixels)) - [2, -3]
    assert np.abs(moved).max() <= pixels + 0.05
    assert (moved.max(axis=0) > 0.9 * pixels).all() and (moved.min(axis=0) < -0.9 * pixels).all()


@engines
@pytest.mark.parametrize("pixels", [0.4, 1.5])
def test_a_part_of_a_pixel_is_never_exceeded_by_more_than_half_of_one(engine: str, pixels: float) -> None:
    moved = middles(augment(engine, disc(41, 41, 2, -3, 4), shift=pixels)) - [2, -3]
    assert np.abs(moved).max() <= pixels + 0.55


@engines
@pytest.mark.parametrize(("height", "width"), SHAPES)
@pytest.mark.parametrize("degrees", [15, 90])
def test_rotate_is_degrees_either_way(engine: str, height: int, width: int, degrees: int) -> None:
    found = middles(augment(engine, disc(height, width, 9, 0, 4), rotate=degrees))
    radius, angle = np.hypot(*found.T), np.degrees(np.arctan2(found[:, 1], found[:, 0]))
    np.testing.assert_allclose(radius, 9, atol=0.35)
    assert np.abs(angle).max() <= degrees + 1.5
    assert angle.max() > 0.85 * degrees and angle.min() < -0.85 * degrees
    assert abs(np.mean(angle)) < 0.2 * degrees


@engines
@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_scale_is_a_zoom_alike_along_both_axes(engine: str, height: int, width: int) -> None:
    original = spreads(disc(height, width, 0, 0, 8, 1))[0, 0]
    zoom = spreads(augment(engine, disc(height, width, 0, 0, 8), scale=0.3))[:, :2] / original
    assert zoom.max() <= 1.33 and zoom.min() >= 0.67
    assert zoom.max() > 1.2 and zoom.min() < 0.8
    np.testing.assert_allclose(zoom[:, 0], zoom[:, 1], rtol=0.03)


@engines
@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_zoom_drawn_apart_stretches(engine: str, height: int, width: int) -> None:
    original = spreads(disc(height, width, 0, 0, 8, 1))[0, 0]
    zoom = spreads(augment(engine, disc(height, width, 0, 0, 8), scale=0.3, scale_apart=True))
    x, y = zoom[:, 0] / original, zoom[:, 1] / original
    for along in (x, y):
        assert along.max() <= 1.33 and along.min() >= 0.67
        assert along.max() > 1.2 and along.min() < 0.8
    assert abs(np.corrcoef(x, y)[0, 1]) < 0.25


def test_zoom_drawn_apart_leaves_what_others_draw() -> None:
    """What is trained already drew these numbers, and stays what it would be."""
    images, rows = disc(28, 28, 3, -2, 5, 4), np.array([0, 7, 41_999, 60_000])
    found = augment("batched", images, rows, 12345, **EVERYTHING)
    expected = [[9.517, 12.765], [15.765, 9.369], [16.754, 11.64], [18.273, 11.666]]
    np.testing.assert_allclose(middles(found) + 13.5, expected, atol=0.002)


@engines
@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_shear_is_degrees_along_x(engine: str, height: int, width: int) -> None:
    found = middles(augment(engine, disc(height, width, 0, -9, 4), shear=30))
    np.testing.assert_allclose(found[:, 1], -9, atol=0.35)
    degrees = np.degrees(np.arctan2(found[:, 0], 9))
    assert np.abs(degrees).max() <= 31.5
    assert degrees.max() > 25 and degrees.min() < -25


@engines
@pytest.mark.parametrize("pixels", [1, 3])
def test_elastic_moves_by_about_so_many_pixels(engine: str, pixels: int) -> None:
    moved = middles(augment(engine, disc(40, 40, 4, -5, 4), elastic=pixels)) - [4, -5]
    assert np.abs(moved).max() <= 1.5 * pixels
    assert (moved.max(axis=0) > 0.2 * pixels).all() and (moved.min(axis=0) < -0.2 * pixels).all()


@engines
def test_elastic_bends(engine: str) -> None:
    """It moves parts of an image against each other, which no affine map of these does to a disc."""
    found = spreads(augment(engine, disc(40, 40, 0, 0, 12), elastic=3))
    assert np.abs(found[:, 0] / found[:, 1] - 1).max() > 0.03


@engines
def test_a_certain_flip_mirrors_exactly(engine: str, digits: Digits) -> None:
    images = some(digits)
    found = augment(engine, images, horizontal_flip=1)
    torch.testing.assert_close(found, images.flip(-1).float(), rtol=0, atol=0.01)


@engines
def test_a_flip_is_as_likely_as_it_says(engine: str) -> None:
    images = disc(9, 9, 2, 0, 2, 400)
    mirrored = middles(augment(engine, images, horizontal_flip=0.25))[:, 0] < 0
    assert 0.15 < mirrored.mean() < 0.35


@engines
@pytest.mark.parametrize(("height", "width"), [(30, 60), (60, 30), (40, 168)])
def test_a_rotated_circle_stays_a_circle(engine: str, height: int, width: int) -> None:
    found = spreads(augment(engine, disc(height, width, 0, 0, 10, 60), rotate=180))
    np.testing.assert_allclose(found[:, 0], found[:, 1], rtol=0.02)
    assert np.abs(found[:, 2]).max() < 0.02


@engines
def test_what_comes_in_is_black(engine: str) -> None:
    white = torch.full((50, 1, 20, 20), 255, dtype=torch.uint8)
    assert (augment(engine, white, shift=5).flatten(1).min(1).values == 0).float().mean() > 0.8
