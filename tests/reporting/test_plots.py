"""softvote.reporting.plots: images in rows, as PNG."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import Digits
from PIL import Image

from softvote.errors import UserError
from softvote.metrics.scores import score_of_proportion
from softvote.reporting.plots import (
    Point,
    Reading,
    cross_validation_against_leaderboard,
    image_grid,
    plot_digit_readings,
)


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


def share_of_colour(path: Path, channel: int) -> float:
    """The share of pixels in which one of red, green and blue stands out."""
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    others = np.delete(pixels, channel, axis=2).max(axis=2)
    return float((pixels[:, :, channel] > others + 60).mean())


def test_titles_of_two_lines_get_room(tmp_path: Path) -> None:
    heights = []
    for title in ("a", "a\nb", "104: mammal, not\N{NO-BREAK SPACE}vehicle", "x" * 200):
        image_grid(tmp_path / "grid.png", [np.zeros((1, 1, 8, 8), np.uint8)] * 2, [[title]] * 2, "")
        with Image.open(tmp_path / "grid.png") as picture:
            heights.append(picture.height)
    assert heights[1] > heights[0] + 2 * 7  # pixels, each line of images
    assert heights[2] == heights[1], "what is wider than its image is broken"
    assert heights[3] - heights[1] == pytest.approx(4 * (heights[1] - heights[0]), abs=2), (
        "and cut after six lines"
    )


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
    plot_digit_readings(tmp_path / "sheet.png", [Reading(image, "MMMMMMMM", right)] * 5, 2, "heading")
    red, green = share_of_colour(tmp_path / "sheet.png", 0), share_of_colour(tmp_path / "sheet.png", 1)
    assert (green > 0.001 and red == 0) if right else (red > 0.001 and green == 0)


def test_attention_is_drawn_where_the_network_looked(tmp_path: Path) -> None:
    image, attention = np.zeros((1, 8, 32), np.uint8), np.zeros((1, 8), np.float32)
    columns = []
    for place in (0, 7):
        attention[:] = 0
        attention[0, place] = 1
        plot_digit_readings(tmp_path / "sheet.png", [Reading(image, "", True, attention)], 1, "")
        with Image.open(tmp_path / "sheet.png") as picture:
            pixels = np.asarray(picture.convert("RGB")).astype(int)
        columns.append(np.flatnonzero((pixels[:, :, 2] > pixels[:, :, 0] + 60).any(axis=0)).mean())
    assert columns[1] > columns[0] + 100


def point(cv: float, leaderboard: float, by_chance: bool = True, name: str = "MMMM") -> Point:
    return Point(name, score_of_proportion(cv, 42_000), score_of_proportion(leaderboard, 7000), by_chance)


@pytest.mark.parametrize("by_chance", [True, False])
def test_a_point_is_blue_by_chance_and_orange_otherwise(tmp_path: Path, by_chance: bool) -> None:
    cross_validation_against_leaderboard(tmp_path / "board.png", {"digits": [point(0.99, 0.991, by_chance)]})
    red, blue = share_of_colour(tmp_path / "board.png", 0), share_of_colour(tmp_path / "board.png", 2)
    assert (blue > 0.0001 and red == 0) if by_chance else (red > 0.0001 and blue == 0)


def lines_of_names(path: Path) -> int:
    """Lines of black text in the outermost column of names: as many as names that do not touch."""
    with Image.open(path) as picture:
        dark = np.asarray(picture.convert("L")) < 100
    right = int(np.flatnonzero(dark.any(axis=0)).max())
    lines = dark[:, right - 20 : right].any(axis=1).astype(int)
    return int((np.diff(lines) == 1).sum())


@pytest.mark.slow_but("8")
@pytest.mark.parametrize("count", [1, 8, 40])
def test_names_do_not_touch_however_near_the_points_are(tmp_path: Path, count: int) -> None:
    near = [point(0.996 + number / 1e5, 0.996) for number in range(count - 1)]
    cross_validation_against_leaderboard(tmp_path / "board.png", {"digits": [*near, point(0.08, 0.083)]})
    assert lines_of_names(tmp_path / "board.png") == count


def place_of_point(path: Path) -> tuple[float, float]:
    """Where blue is in the middle, from the left and from the top."""
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    rows, columns = np.nonzero(pixels[:, :, 2] > pixels[:, :, 0] + 60)
    return float(np.median(columns)), float(np.median(rows))


def test_cross_validation_goes_right_and_the_leaderboard_up(tmp_path: Path) -> None:
    places = {}
    for cv, leaderboard in [(0.99, 0.99), (0.9, 0.99), (0.99, 0.9)]:
        corners = [point(0.5, 0.5, False), point(0.999, 0.999, False)]
        path = tmp_path / "board.png"
        cross_validation_against_leaderboard(path, {"digits": [*corners, point(cv, leaderboard)]})
        places[cv, leaderboard] = place_of_point(path)
    (x, y), right, up = places.values()
    assert right[0] > x + 50 and right[1] == pytest.approx(y, abs=4)
    assert up[1] < y - 50 and up[0] == pytest.approx(x, abs=4)


def test_a_panel_for_each_competition(tmp_path: Path) -> None:
    sizes = []
    for headings in ["a", "ab"]:
        panels = {heading: [point(0.99, 0.99)] for heading in headings}
        cross_validation_against_leaderboard(tmp_path / "board.png", panels)
        with Image.open(tmp_path / "board.png") as picture:
            sizes.append(picture.size)
    assert sizes[1][1] == pytest.approx(2 * sizes[0][1], rel=0.1) and sizes[1][0] < 1.1 * sizes[0][0]


@pytest.mark.slow_but("1.0-0.0", "0.996-1.0")
@pytest.mark.parametrize(("cv", "leaderboard"), [(1.0, 1.0), (0.0, 0.0), (1.0, 0.0), (0.996, 1.0)])
def test_all_right_and_all_wrong_have_a_place(tmp_path: Path, cv: float, leaderboard: float) -> None:
    cross_validation_against_leaderboard(tmp_path / "board.png", {"digits": [point(cv, leaderboard)]})
    assert share_of_colour(tmp_path / "board.png", 2) > 0.0001
