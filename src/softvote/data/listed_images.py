"""The image files that a sample submission lists, a few at a time; one that is damaged stops no other."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from softvote.data.forms import read_sample
from softvote.data.image_files import ImageLoader, Stores
from softvote.data.readers.base import Images, LazyImages
from softvote.errors import ErrorCollector

if TYPE_CHECKING:
    from softvote.config.competition import Competition


def open_listed_images(
    competition: Competition,
    folder: Path,
    test_images: str | list[str],
    suffix: str,
    channel_suffixes: Sequence[str] = (),
) -> LazyImages:
    """Open the test images of a competition in a folder.

    Args:
        test_images: where they are, in the folder.
        suffix: what their names lack.
        channel_suffixes: of files that hold one channel each; empty where a file is an image.

    Raises:
        UserError: the sample submission cannot be read.
    """
    sample = read_sample(folder / competition.sample_submission, competition)
    ids = sample.template.ids
    store, shown = Stores(folder, channel_suffixes or [suffix]).open(test_images)

    def load_one(position: int) -> tuple[NDArray[np.uint8], str]:
        problems = ErrorCollector()
        loader = ImageLoader(competition.image, suffix, channel_suffixes, problems)
        pixels = loader.load([ids[position]], [sample.where(position)], store, shown)
        return pixels, problems.first()

    def load(positions: Sequence[int]) -> tuple[Images, dict[int, str]]:
        with ThreadPoolExecutor() as pool:  # decoding leaves Python alone
            loaded = list(pool.map(load_one, positions))
        bad = {place: problem for place, (_, problem) in enumerate(loaded) if problem}
        return Images(np.concatenate([pixels for pixels, _ in loaded])), bad

    return LazyImages(len(ids), ids, load)
