"""softvote.pictures: images in rows, as PNG."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import Digits
from PIL import Image

from softvote.errors import UserError
from softvote.pictures import Reading, image_grid, readings_sheet


@pytest.mark.parametrize("channels", [1, 3])
def test_a_grid_of_images(tmp_path: Path, digits: Digits, channels: int) -> None:
    images = np.repeat(digits[0][:7][:, None], channels, axis=1)
    path = tmp_path / "deep" / "grid.png"
    image_grid(path, [images[:4], images[4:]], [["a"] * 4, ["b"] * 3], "heading")
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert picture.width > picture.height > 50
        assert np.asarray(picture.convert("L")).std() > 10
    assert [file.name for file in path.parent.iterdir()] == ["grid.png"]


def test_the_images_are_in_it(tmp_path: Path) -> None:
    """Black and white are shown as they are, not stretched by what else is in an image."""
    shares = []
    for level in (0, 255):
        image_grid(tmp_path / "grid.png", [np.full((1, 1, 8, 8), level, np.uint8)], [[""]], "")
        with Image.open(tmp_path / "grid.png") as picture:
            shares.append(float((np.asarray(picture.convert("L")) < 10).mean()))
    assert shares[0] > 0.2 and shares[1] == 0


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        image_grid(tmp_path / "file" / "grid.png", [np.zeros((1, 1, 8, 8), np.uint8)], [[""]], "")


def share_of(path: Path, channel: int) -> float:
    """The share of pixels in which one of red, green and blue stands out."""
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    others = np.delete(pixels, channel, axis=2).max(axis=2)
    return float((pixels[:, :, channel] > others + 60).mean())


def test_wide_images_get_wide_places(tmp_path: Path) -> None:
    sizes = []
    for width in (8, 32):
        image_grid(tmp_path / "grid.png", [np.zeros((2, 1, 8, width), np.uint8)] * 4, [["", ""]] * 4, "")
        with Image.open(tmp_path / "grid.png") as picture:
            sizes.append(picture.width / picture.height)
    assert sizes[1] > 2 * sizes[0]


@pytest.mark.parametrize("right", [True, False])
def test_a_reading_is_green_where_right_and_red_where_wrong(tmp_path: Path, right: bool) -> None:
    image = np.zeros((1, 8, 32), np.uint8)
    readings_sheet(tmp_path / "sheet.png", [Reading(image, "MMMMMMMM", right)] * 5, 2, "heading")
    red, green = share_of(tmp_path / "sheet.png", 0), share_of(tmp_path / "sheet.png", 1)
    assert (green > 0.001 and red == 0) if right else (red > 0.001 and green == 0)


def test_attention_is_drawn_where_the_network_looked(tmp_path: Path) -> None:
    image, attention = np.zeros((1, 8, 32), np.uint8), np.zeros((1, 8), np.float32)
    columns = []
    for place in (0, 7):
        attention[:] = 0
        attention[0, place] = 1
        readings_sheet(tmp_path / "sheet.png", [Reading(image, "", True, attention)], 1, "")
        with Image.open(tmp_path / "sheet.png") as picture:
            pixels = np.asarray(picture.convert("RGB")).astype(int)
        columns.append(np.flatnonzero((pixels[:, :, 2] > pixels[:, :, 0] + 60).any(axis=0)).mean())
    assert columns[1] > columns[0] + 100
