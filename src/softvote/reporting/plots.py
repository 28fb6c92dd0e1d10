"""Pictures, for where people would rather look than read."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softvote.metrics.scores import Score
from softvote.storage.files import atomic_write

_LETTER = 0.06  # inches that a letter of an image's title takes


def image_grid(
    path: Path, rows: Sequence[NDArray[np.uint8]], titles: Sequence[Sequence[str]], heading: str
) -> None:
    """Write images in rows, each with a short title, as PNG.

    Args:
        path: of the PNG.
        rows: each uint8 (n, C, H, W).
        titles: as many as there are images, of a line or more; what is wider than an image is broken, and
            ends in an ellipsis after six lines.
        heading: one line over all.
    """
    from matplotlib.figure import Figure

    columns = max(len(row) for row in rows)
    aspect = rows[0].shape[3] / rows[0].shape[2]
    width = 0.9 * max(1.0, aspect**0.6)  # inches; wide images get more, but not all that they ask for
    titles = [[_break(text, int(width / _LETTER)) for text in texts] for texts in titles]
    title = 0.1 + 0.11 * max(text.count("\n") + 1 for texts in titles for text in texts)
    figure = Figure(figsize=(columns * width + 0.2, len(rows) * (width / aspect + title) + 0.6), dpi=110)
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for line, images, texts in zip(axes, rows, titles, strict=True):
        for axis, image, text in zip(line, images, texts, strict=False):
            _show(axis, image, text)
    figure.suptitle(heading, fontsize=9)
    figure.tight_layout(pad=0.3, rect=(0, 0, 1, 0.98))
    with atomic_write(path) as temporary:
        figure.savefig(temporary)


def _break(text: str, letters: int) -> str:
    """The text in at most six lines of so many letters; a space that does not break stays."""
    lines = [textwrap.wrap(line, letters) or [""] for line in text.split("\n")]
    first, rest = [line for parts in lines for line in parts][:6], sum(map(len, lines)) > 6
    return "\n".join([*first[:-1], f"{first[-1][: letters - 1]}…"] if rest else first)


@dataclass(frozen=True)
class Reading:
    """What a network read from one image.

    Attributes:
        image: uint8 (C, H, W).
        text: what it read, and what is right.
        right: whether the two agree.
        attention: float (S, columns), where it looked for each digit, left to right; None where unknown.
    """

    image: NDArray[np.uint8]
    text: str
    right: bool
    attention: NDArray[np.float32] | None = None


def plot_digit_readings(path: Path, readings: Sequence[Reading], columns: int, heading: str) -> None:
    """Write images with what was read from them, green where right and red where wrong, as PNG.

    Under each image a coloured line per digit shows where the network looked.
    """
    from matplotlib.figure import Figure

    lines = -(-len(readings) // columns)
    figure = Figure(figsize=(columns * 2.6 + 0.2, lines * 1.05 + 0.5), dpi=110)
    axes = figure.subplots(lines, columns, squeeze=False).flat
    for axis in axes:
        axis.axis("off")
    for axis, reading in zip(figure.axes, readings, strict=False):
        _show(axis, reading.image, "")
        axis.set_title(reading.text, fontsize=8, pad=2, color="tab:green" if reading.right else "tab:red")
        if reading.attention is not None:
            _show_attention(axis, reading.image, reading.attention)
    figure.suptitle(heading, fontsize=9)
    figure.tight_layout(pad=0.4, rect=(0, 0, 1, 0.98))
    with atomic_write(path) as temporary:
        figure.savefig(temporary)


def _show_attention(axis: Any, image: NDArray[np.uint8], attention: NDArray[np.float32]) -> None:
    """Each slot's attention as a hump below the image."""
    height, width = image.shape[1:]
    columns = (np.arange(attention.shape[1]) + 0.5) * width / attention.shape[1] - 0.5
    depth, base = height / 4, height * 1.3
    for number, slot in enumerate(attention):
        top = base - depth * slot / slot.max()
        axis.fill_between(columns, base, top, color=f"C{number}", alpha=0.6, linewidth=0)
    axis.set_ylim(base, -0.5)


def _show(axis: Any, image: NDArray[np.uint8], text: str) -> None:
    channels_last = image.transpose(1, 2, 0)
    shown = channels_last[:, :, 0] if image.shape[0] == 1 else channels_last
    axis.imshow(shown, cmap="gray", vmin=0, vmax=255)
    axis.set_title(text, fontsize=7, pad=2)


@dataclass(frozen=True)
class Point:
    """A voter that was scored twice.

    Attributes:
        name: what is written beside it.
        cv: the score in cross-validation.
        leaderboard: the score on test rows.
        by_chance: whether chance explains their difference.
        metric: what is scored; empty for accuracy, of which errors are drawn.
    """

    name: str
    cv: Score
    leaderboard: Score
    by_chance: bool
    metric: str = ""

    @property
    def places(self) -> tuple[float, float]:
        """Where it stands: the errors in %, above 0 for the logarithm; of another metric the values."""
        if self.metric:
            return self.cv.value, self.leaderboard.value
        return _wrong(self.cv), _wrong(self.leaderboard)

    @property
    def bars(self) -> tuple[float, float]:
        """One standard error of both, in the same unit."""
        unit = 1 if self.metric else 100
        return unit * self.cv.standard_error, unit * self.leaderboard.standard_error


_LINE = 0.17  # inches that a name takes


_LEGEND = "bars: one standard error; orange: more than chance explains"


def cross_validation_against_leaderboard(path: Path, panels: Mapping[str, Sequence[Point]]) -> None:
    """Write scores in cross-validation against those on test rows as PNG, a panel below another.

    Both axes are the same; bars are one standard error, the dashed diagonal is where both agree. Of accuracy
    errors are drawn, on logarithmic axes, so that 0.3 and 90 % find room; a score without a mistake stands at
    half a mistake.

    Args:
        panels: at least one point under each heading, all of one metric.
    """
    from matplotlib.figure import Figure

    sides = [max(3.6, _LINE * (len(points) + 2)) for points in panels.values()]  # inches
    figure = Figure(figsize=(max(sides) + 2, sum(sides) + 0.9 * len(sides)), dpi=110)
    axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=sides)
    for axis, side, (heading, points) in zip(axes.flat, sides, panels.items(), strict=True):
        axis.set(box_aspect=1, anchor="W")
        axis.set_title(f"{heading}\n{_LEGEND}", fontsize=8, loc="left")
        _set_scales(axis, points[0].metric, *_limits(points))
        for point in points:
            _show_point(axis, point)
        _show_names(axis, points, _LINE / side)
    figure.tight_layout()
    with atomic_write(path) as temporary:
        figure.savefig(temporary, bbox_inches="tight")


def _set_scales(axis: Any, metric: str, low: float, high: float) -> None:
    """The same on both axes, with ticks that are read as they stand."""
    from matplotlib.ticker import AutoLocator, FormatStrFormatter, LogLocator, NullLocator

    if metric:
        axis.set(xlim=(low, high), ylim=(low, high))
        axis.set(xlabel=f"{metric} in cross-validation", ylabel=f"{metric} on test rows")
        axis.axline((low, low), (high, high), color="0.6", linestyle="--", linewidth=0.8)
        return
    axis.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high))
    axis.set(xlabel="wrong in cross-validation, %", ylabel="wrong on test rows, %")
    axis.axline((low, low), (high, high), color="0.6", linestyle="--", linewidth=0.8)
    for one in (axis.xaxis, axis.yaxis):
        one.set_major_locator(AutoLocator() if high < 5 * low else LogLocator(subs=(1, 2, 5)))
        one.set_major_formatter(FormatStrFormatter("%g"))
        one.set_minor_locator(NullLocator())


def _show_point(axis: Any, point: Point) -> None:
    (x, y), (x_bar, y_bar) = point.places, point.bars
    axis.errorbar(
        x, y, xerr=x_bar, yerr=y_bar,
        fmt="o", markersize=4, elinewidth=0.9, color="tab:blue" if point.by_chance else "tab:orange",
    )  # fmt: skip


def _show_names(axis: Any, points: Sequence[Point], gap: float) -> None:
    """Names in a column beside the axes, each as near to its point as there is room.

    Args:
        gap: between two names, as a share of the axes' height.
    """
    from sklearn.isotonic import isotonic_regression

    ordered = sorted(points, key=lambda point: (point.places[1], -point.places[0]))
    places = [point.places for point in ordered]
    heights = (axis.transData + axis.transAxes.inverted()).transform(places)[:, 1]
    steps = gap * np.arange(len(points))
    heights = steps + isotonic_regression(heights - steps, y_min=0, y_max=1 - steps[-1])
    for point, place, height in zip(ordered, places, heights, strict=True):
        axis.annotate(
            point.name, place, (1.05, height), textcoords="axes fraction", fontsize=8, va="center",
            arrowprops={"arrowstyle": "-", "color": "0.7", "linewidth": 0.5, "relpos": (0, 0.5)},
        )  # fmt: skip


def _wrong(score: Score) -> float:
    """In %, above 0 for the logarithm."""
    return 100 * max(1 - score.value, 0.5 / score.rows)


def _limits(points: Sequence[Point]) -> tuple[float, float]:
    """Around every point and bar; a bar that reaches 0 is cut off."""
    ends = []
    for point in points:
        for place, bar in zip(point.places, point.bars, strict=True):
            if point.metric:
                ends += [place - 1.5 * bar - 1e-3, place + 1.5 * bar + 1e-3]
            else:
                ends += [max(place - bar, place / 3) / 1.2, 1.2 * (place + bar)]
    return min(ends), max(ends)
