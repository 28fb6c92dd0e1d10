"""Pictures, for where people would rather look than read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softvote.artifacts import written_whole


def image_grid(
    path: Path, rows: Sequence[NDArray[np.uint8]], titles: Sequence[Sequence[str]], heading: str
) -> None:
    """Write images in rows, each with a short title, as PNG.

    Args:
        path: of the PNG.
        rows: each uint8 (n, C, H, W).
        titles: as many as there are images.
        heading: one line over all.
    """
    from matplotlib.figure import Figure

    columns = max(len(row) for row in rows)
    aspect = rows[0].shape[3] / rows[0].shape[2]
    width = 0.9 * max(1.0, aspect**0.6)  # inches; wide images get more, but not all that they ask for
    figure = Figure(figsize=(columns * width + 0.2, len(rows) * (width / aspect + 0.2) + 0.6), dpi=110)
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for line, images, texts in zip(axes, rows, titles, strict=True):
        for axis, image, text in zip(line, images, texts, strict=False):
            _show(axis, image, text)
    figure.suptitle(heading, fontsize=9)
    figure.tight_layout(pad=0.3, rect=(0, 0, 1, 0.98))
    with written_whole(path) as temporary:
        figure.savefig(temporary)


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


def readings_sheet(path: Path, readings: Sequence[Reading], columns: int, heading: str) -> None:
    """Write images with what was read from them, green where right and red where wrong, as PNG.

    Under each image a coloured line a digit shows where the network looked.
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
    with written_whole(path) as temporary:
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
