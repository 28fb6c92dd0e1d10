"""softvote.data.normalisation: mean 0 and standard deviation 1, channel by channel."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from conftest import Digits

from softvote.data.normalisation import Normalisation


@pytest.mark.parametrize("channels", [1, 3])
def test_measured_over_all_rows(channels: int) -> None:
    images = torch.randint(0, 256, (40, channels, 9, 7), dtype=torch.uint8)
    images[:, -1] //= 3
    found = Normalisation.of(images)
    assert len(found.mean) == len(found.std) == channels
    for channel in range(channels):
        levels = images[:, channel].double()
        assert found.mean[channel] == pytest.approx(float(levels.mean()))
        assert found.std[channel] == pytest.approx(float(levels.std(correction=0)))


def test_applied_to_what_it_was_measured_on(digits: Digits) -> None:
    images = torch.from_numpy(digits[0][:, None])
    normal = Normalisation.of(images)(images.float())
    assert normal.dtype == torch.float32 and normal.shape == images.shape
    assert float(normal.mean()) == pytest.approx(0, abs=1e-4)
    assert float(normal.std(correction=0)) == pytest.approx(1, abs=1e-4)


def test_channels_are_normalised_by_their_own_numbers() -> None:
    normal = Normalisation((10.0, 100.0), (2.0, 50.0))(torch.full((1, 2, 1, 1), 110.0))
    assert normal.flatten().tolist() == pytest.approx([50.0, 0.2])


def test_each_image_by_itself() -> None:
    images = torch.randint(0, 256, (5, 2, 9, 7), dtype=torch.uint8)
    images[1] //= 3
    images[2, 0] //= 2
    by_image = Normalisation.of(images, "image")
    normal = by_image(images.float())
    for one, image in zip(normal, images, strict=True):
        levels = image.double()
        expected = (levels - levels.mean()) / levels.std(correction=0)
        torch.testing.assert_close(one.double(), expected, rtol=0, atol=1e-5)
    assert torch.equal(by_image(images[1:2].float()), normal[1:2])
    assert (by_image.mean, by_image.std) == (Normalisation.of(images).mean, Normalisation.of(images).std)


@pytest.mark.parametrize("level", [0, 255])
@pytest.mark.parametrize("by", ["dataset", "image"])
def test_blank_images_do_not_divide_by_nothing(level: int, by: Literal["dataset", "image"]) -> None:
    images = torch.full((3, 1, 4, 4), level, dtype=torch.uint8)
    assert torch.equal(Normalisation.of(images, by)(images.float()), torch.zeros(3, 1, 4, 4))


def test_many_pixels_are_counted_exactly() -> None:
    """Single precision would lose pixels beyond 2**24."""
    images = torch.zeros(17, 1, 1024, 1024, dtype=torch.uint8)
    images[:, :, :512] = 200
    assert Normalisation.of(images).mean == (100.0,) and Normalisation.of(images).std == (100.0,)
