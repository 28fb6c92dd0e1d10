"""The test rows of a competition alone, in the sample submission's order, loaded a part at a time.

For predictions where nobody can fix a file: other rows than were seen before, perhaps many more, one, or
none, rows that stand there again, and images that are damaged or missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from softvote.config.competition import Competition
from softvote.data.forms import SubmissionTemplate, read_repeating_sample
from softvote.data.readers.base import Images, LazyImages, lazy_images
from softvote.data.readers.registry import READERS
from softvote.errors import UserError
from softvote.words import counted


@dataclass(frozen=True)
class LazyRows:
    """Test rows in the sample submission's order.

    Attributes:
        template: ids and header of the sample submission; an id that stands there again is one row.
        positions: int64 (T,), where the image of each row stands in `images`; -1 where there is none.
        shape: channels, height and width of an image.
    """

    template: SubmissionTemplate
    positions: NDArray[np.int64]
    images: LazyImages
    shape: tuple[int, int, int]

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def notes(self) -> list[str]:
        """What is to be said of a sample submission that is not as it should be."""
        if not self.template.ids:
            return ["the sample submission has no rows; a header alone is written"]
        if again := len(self.template.written_ids) - len(self.template.line_ids):
            return [f"{again:,} lines of the sample submission repeat an id, and get the answer of the first"]
        return []

    def load(self, rows: range) -> tuple[Images, dict[int, str]]:
        """The images of some rows, and what is wrong with those that cannot be had, by their row."""
        places = self.positions[rows.start : rows.stop]
        missing = {rows[place]: "has no image" for place in np.flatnonzero(places < 0).tolist()}
        if not self.images.count:
            black = np.zeros((len(places), *self.shape), np.uint8)
            return Images(black, addends=np.zeros(len(places), np.int64)), missing
        images, bad = self.images.load(np.maximum(places, 0).tolist())
        return images, {rows[place]: problem for place, problem in bad.items()} | missing


def open_test_rows(competition: Competition, folder: Path) -> LazyRows:
    """Open the test rows of a competition's files; nothing of the training files is read.

    Raises:
        UserError: no sample submission or no test images, or, where images have no ids, not one for each row.
    """
    template = read_repeating_sample(folder / competition.sample_submission, competition).template
    image = competition.image
    shape = (image.channels, image.height, image.width)
    if template.ids:
        images = READERS[competition.files.format].open_test(competition, folder)
    else:
        images = lazy_images(Images(np.zeros((0, *shape), np.uint8), ids=[]))
    return LazyRows(template, _positions(template, images, competition), images, shape)


def _positions(
    template: SubmissionTemplate, images: LazyImages, competition: Competition
) -> NDArray[np.int64]:
    ids = template.ids
    if not ids or not images.count:
        return np.full(len(ids), -1, np.int64)
    if images.ids is None:
        if template.line_ids == ids and len(ids) != images.count == len(template.written_ids):
            first = dict(zip(reversed(template.written_ids), reversed(range(images.count)), strict=True))
            return np.array([first[name] for name in ids], np.int64)
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
