"""softvote.pictures: images in rows, as PNG."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import Digits
from PIL import Image

from softvote.errors import UserError
from softvote.pictures import image_grid


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
