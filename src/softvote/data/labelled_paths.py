"""Training images whose place or name says the label, without a table; the test images by the sample."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from softvote.config.schema import ConfigError, OneOrSeveral
from softvote.data.forms import read_sample
from softvote.data.image_files import ImageLoader, Stores, folders_of, image_sources, packages_to_open
from softvote.data.image_index import image_files
from softvote.data.image_values import EncodedImage
from softvote.data.label_cells import Groups, groups_of_ids
from softvote.data.listed_images import open_listed_images
from softvote.data.reader_configs import DecodedFiles, NamedImages
from softvote.data.readers.base import Images, KeepImages, LazyImages, existing, quote
from softvote.errors import ErrorCollector, one_of
from softvote.words import counted

if TYPE_CHECKING:
    from softvote.config.competition import Competition


LabelOf = Callable[[str], str | None]
"""The label in an image's path from the folder of training images; None where it says none."""


class PathsConfig(NamedImages, DecodedFiles):
    """Images whose paths say their labels."""

    train_images: OneOrSeveral = "train"
    """Folder of the training images by its path in the competition's folder, or several."""
    test_images: OneOrSeveral = "test"
    """Folder of the test images by its path in the competition's folder, or several; or an HDF5 file."""
    suffix: str = ""
    """File suffix added to the sample submission's ids, such as `.png`."""

    @property
    def packages(self) -> dict[str, str]:
        return packages_to_open(folders_of(self.test_images))

    @property
    def test_source(self) -> str:
        return ", ".join(folders_of(self.test_images))

    def check_addend(self, addend: bool) -> None:
        """Refuse addends."""
        if addend:
            raise ConfigError.at(
                "", f"files of format {self.format} cannot hold addends", "use pixel_csv or npy"
            )


def path_sources(competition: Competition, folder: Path, more: Sequence[str] = ()) -> list[Path]:
    """The sample submission, further files, and every image file under the image folders."""
    files = competition.files
    assert isinstance(files, PathsConfig)
    names = [*more, *folders_of(files.train_images), *folders_of(files.test_images)]
    return sorted(image_sources(existing(competition, folder, names), [files.suffix]))


def read_paths(
    competition: Competition,
    folder: Path,
    label_of: LabelOf,
    keep: KeepImages,
    groups_of: Callable[[Sequence[str], ErrorCollector], Groups] | None = None,
) -> tuple[Images, Images]:
    """Train images by path, and the test images that the sample submission lists.

    Args:
        keep: where the images go.
        groups_of: what else is known of images by their paths.

    Raises:
        UserError: every problem of the files, one line each.
    """
    files, problems = competition.files, ErrorCollector()
    assert isinstance(files, PathsConfig)
    loader = ImageLoader(competition.image, files.suffix)
    found = [
        (path, path.relative_to(top).as_posix())
        for top in (folder / name for name in folders_of(files.train_images))
        for path in sorted(image_files(top, [files.suffix]))
    ]
    labels = _labels([name for _, name in found], label_of, competition, problems)
    train_files = loader.take_files([EncodedImage.of(path) for path, _ in found])
    names = [name for _, name in found]
    groups = groups_of_ids(names, files, lambda row: str(found[row][0]), problems)
    if groups_of:
        groups |= groups_of(names, problems)
    sample = read_sample(folder / competition.sample_submission, competition)
    ids = sample.template.ids
    places = [sample.where(image) for image in range(len(ids))]
    store, where = Stores(folder, [files.suffix]).open(files.test_images)
    train, test = keep(train_files, loader.find(ids, places, store, where), problems)
    loader.report_depth(where, problems)
    problems.raise_any()
    notes = [
        *loader.notes(),
        *loader.describe_unused(store, files.test_source, competition.sample_submission),
    ]
    return Images(train, labels, names, groups=groups, notes=notes), Images(test, ids=ids)


def open_listed_paths(competition: Competition, folder: Path) -> LazyImages:
    """The test images that the sample submission lists."""
    files = competition.files
    assert isinstance(files, PathsConfig)
    return open_listed_images(competition, folder, files.test_images, files.suffix)


def _labels(
    names: Sequence[str], label_of: LabelOf, competition: Competition, problems: ErrorCollector
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Class indices int64 (N,); paths that say no class are counted, one line for each wrong label."""
    files = competition.files
    assert isinstance(files, PathsConfig)
    source = ", ".join(folders_of(files.train_images))
    if not names:
        problems.add(source, "holds no images", "fix files.train_images")
    index_of = {name: index for index, name in enumerate(competition.classes)}
    labels, silent, unknown = np.zeros(len(names), np.int64), [], Counter[str]()
    for row, name in enumerate(names):
        written = label_of(name)
        label = files.rename.get(written, written) if written is not None else None
        if label is None:
            silent.append(name)
        elif label in index_of:
            labels[row] = index_of[label]
        else:
            unknown[label] += 1
    if silent:
        what = f"{counted(len(silent), 'image does', 'images do')} not say their class, as {silent[0]}"
        problems.add(source, what, "move them away, or fix files")
    for label, count in unknown.items():
        what = f"{quote(label)} of {counted(count, 'image')} is not a class"
        problems.add(source, what, f"fix files.rename or competition.labels: {one_of(list(index_of), label)}")
    return labels
