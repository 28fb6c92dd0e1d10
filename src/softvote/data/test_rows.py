"""The test rows of a competition alone, in the sample submission's order, loaded a part at a time.

For predictions where nobody can fix a file: other rows than were seen before, perhaps many more, or one,
and images that are damaged or missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from softvote.config.competition import Competition
from softvote.data.dataset import Dataset
from softvote.data.forms import read_sample
from softvote.data.readers.base import Images, LazyImages
from softvote.data.readers.registry import READERS
from softvote.errors import UserError
from softvote.words import counted


@dataclass(frozen=True)
class LazyRows:
    """Test rows in the sample submission's order.

    Attributes:
        form: ids and header of the sample submission, as a data set without images.
        positions: int64 (T,), where the image of each row stands in `images`; -1 where there is none.
        shape: channels, height and width of an image.
    """

    form: Dataset
    positions: NDArray[np.int64]
    images: LazyImages
    shape: tuple[int, int, int]

    def __len__(self) -> int:
        return len(self.positions)

    def load(self, rows: range) -> tuple[Images, dict[int, str]]:
        """The images of some rows, and what is wrong with those that cannot be had, by their row."""
        places = self.positions[rows.start : rows.stop]
        missing = {rows[place]: "has no image" for place in np.flatnonzero(places < 0).tolist()}
        images, bad = self.images.load(np.maximum(places, 0).tolist())
        return images, {rows[place]: problem for place, problem in bad.items()} | missing


def open_test_rows(competition: Competition, folder: Path) -> LazyRows:
    """Open the test rows of a competition's files; nothing of the training files is read.

    Raises:
        UserError: no sample submission or no test images, or, where images have no ids, not one for each row.
    """
    template = read_sample(folder / competition.sample_submission, competition).template
    images = READERS[competition.files.format].open_test(competition, folder)
    positions = _positions(template.ids, images, competition)
    image = competition.image
    shape = (image.channels, image.height, image.width)
    no_images, no_rows = np.empty((0, *shape), np.uint8), np.empty(0, np.int64)
    lines = None if template.line_ids == template.ids else template.line_ids
    form = Dataset(no_images, no_rows, no_images, template.ids, template.header, "", "", line_ids=lines)
    return LazyRows(form, positions, images, shape)


def _positions(ids: Sequence[str], images: LazyImages, competition: Competition) -> NDArray[np.int64]:
    if images.ids is None:
        if len(ids) != images.count:
            what = f"has {counted(len(ids), 'row')} for the {counted(images.count, 'test image')}"
            raise UserError.at(competition.sample_submission, what, "take both from the same download")
        return np.arange(len(ids))
    place_of = {name: place for place, name in enumerate(images.ids)}
    found = np.array([place_of.get(name, -1) for name in ids], np.int64)
    if len(found) and not (found >= 0).any():
        what = f"names no image of {competition.files.test_source}"
        raise UserError.at(competition.sample_submission, what, "take both from the same download")
    return found
