"""The image files that a sample submission lists, a few at a time; one that is damaged stops no other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from softvote.data.forms import read_repeating_sample
from softvote.data.image_files import ImageLoader, Stores
from softvote.data.readers.base import Images, LazyImages

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
    sample = read_repeating_sample(folder / competition.sample_submission, competition)
    ids = sample.template.ids
    store, shown = Stores(folder, channel_suffixes or [suffix]).open(test_images)

    loader = ImageLoader(competition.image, suffix, channel_suffixes)
    images = loader.find(ids, [sample.where(position) for position in range(len(ids))], store, shown)

    def load(positions: Sequence[int]) -> tuple[Images, dict[int, str]]:
        pixels, bad = images.try_rows(positions)
        return Images(pixels), bad

    return LazyImages(len(ids), ids, load)
