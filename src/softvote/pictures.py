"""Pictures, for where people would rather look than read."""

from __future__ import annotations

from collections.abc import Sequence
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
    figure = Figure(figsize=(columns * 0.9 + 0.2, len(rows) * 1.1 + 0.6), dpi=110)
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


def _show(axis: Any, image: NDArray[np.uint8], text: str) -> None:
    channels_last = image.transpose(1, 2, 0)
    shown = channels_last[:, :, 0] if image.shape[0] == 1 else channels_last
    axis.imshow(shown, cmap="gray", vmin=0, vmax=255)
    axis.set_title(text, fontsize=7, pad=2)
