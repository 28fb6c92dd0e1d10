"""The images of one part of a competition, and all that belongs to each of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from softvote.data.pixels import Pixels, select_rows


@dataclass(frozen=True, eq=False)
class ImageSplit:
    """Images of one split.

    Attributes:
        images: uint8 (N, C, H, W), 0..255; an array, or what gives its rows when asked.
        labels: int64 (N,), indices into the classes, or (N, K) or (N, T) as the task's kind has them; None
            where nobody knows them.
        ids: N ids as the competition writes them; None for training images.
        addends: int64 (N,), 0..9, where the task has them.
    """

    images: Pixels
    labels: NDArray[np.int64] | None = None
    ids: list[str] | None = None
    addends: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def image_labels(self) -> NDArray[np.int64]:
        """What each image shows, as `labels`: its label, less the addend where one comes along."""
        labels = self.known_labels
        return labels if self.addends is None else labels - self.addends

    @property
    def known_labels(self) -> NDArray[np.int64]:
        """The labels of a split that has them."""
        assert self.labels is not None, "these images have no labels"
        return self.labels

    def take(self, rows: NDArray[np.int64] | slice) -> ImageSplit:
        """Some of the images, by row numbers int64 (n,) or a slice; none is copied."""
        ids = self.ids
        if ids is not None:
            ids = ids[rows] if isinstance(rows, slice) else [ids[row] for row in rows]
        labels, addends = (None if each is None else each[rows] for each in (self.labels, self.addends))
        return ImageSplit(select_rows(self.images, rows), labels, ids, addends)
