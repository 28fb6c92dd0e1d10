"""`image_folder`: a CSV of ids and labels beside folders of image files, or an HDF5 file of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from softvote.config.schema import ConfigError, OneOrSeveral
from softvote.data.csv_table import Table, open_table, read_table
from softvote.data.forms import read_sample
from softvote.data.image_cache import keep_in_memory
from softvote.data.image_files import ImageLoader, Stores, folders_of, image_sources, packages_to_open
from softvote.data.image_kind import look_at
from softvote.data.image_survey import FoundImages, IdColumn, ImageSurvey, sample_images
from softvote.data.label_cells import read_labels
from softvote.data.label_detection import detect_groups, detect_labels, row_image
from softvote.data.listed_images import open_listed_images
from softvote.data.reader_configs import DecodedFiles, LabelledFiles
from softvote.data.readers.base import READERS, Images, KeepImages, LazyImages, Reader, existing
from softvote.data.readers.detection import Candidate, DetectedLayout, train_csv_names
from softvote.errors import ErrorCollector
from softvote.words import counted

if TYPE_CHECKING:
    from softvote.config.competition import Competition


class ImageFolder(LabelledFiles, DecodedFiles):
    """A CSV of ids and labels beside folders of image files."""

    format: Literal["image_folder"]
    """`image_folder`: a CSV of ids and labels beside folders of image files, or HDF5 files of them."""
    train: str = "train.csv"
    """CSV of ids and labels, by its path in the competition's folder."""
    train_images: OneOrSeveral = "train"
    """Folder of the training images by its path in the competition's folder, or several; or an HDF5 file."""
    test_images: OneOrSeveral = "test"
    """Folder of the test images by its path in the competition's folder, or several; or an HDF5 file."""
    id: str = "id"
    """Name of the column that names the image file, with or without its suffix and the folders before it."""
    suffix: str = ""
    """File suffix added to ids that are written without it, such as `.png`."""
    channel_suffixes: list[str] = []
    """Where several files are the channels of one image: what follows the id in each of their names, such as
    `[_red.png, _green.png, _blue.png]`."""

    @property
    def packages(self) -> dict[str, str]:
        return packages_to_open([*folders_of(self.train_images), *folders_of(self.test_images)])

    @property
    def test_source(self) -> str:
        return ", ".join(folders_of(self.test_images))

    def check_addend(self, addend: bool) -> None:
        """Refuse addends."""
        if addend:
            raise ConfigError.at(
                "", "files of format image_folder cannot hold addends", "use pixel_csv or npy"
            )

    def check_channels(self, channels: int) -> None:
        """Refuse another number of channel files."""
        count = len(self.channel_suffixes)
        if count not in (0, channels):
            raise ConfigError.at(
                "", f"files: {count} channel_suffixes for {counted(channels, 'channel')}", "fix one"
            )


def sources(competition: Competition, folder: Path) -> list[Path]:
    """The table, the sample submission and every image file under the image folders."""
    files = _files(competition)
    images = [*folders_of(files.train_images), *folders_of(files.test_images)]
    paths = existing(competition, folder, [files.train, *images])
    return sorted(image_sources(paths, files.channel_suffixes or [files.suffix]))


def read(competition: Competition, folder: Path, keep: KeepImages = keep_in_memory) -> tuple[Images, Images]:
    """Train images with labels and ids, and the test images that the sample submission lists."""
    files, problems = _files(competition), ErrorCollector()
    loader = ImageLoader(competition.image, files.suffix, files.channel_suffixes)
    stores = Stores(folder, files.channel_suffixes or [files.suffix])
    table = open_table(folder / files.train, problems)
    rows = read_labels(table, files.id, competition, problems) if table else None
    ids, places = list[str](), list[str]()
    if table and rows:
        ids, places = rows.ids, [table.where(position, files.id) for position in rows.positions.tolist()]
    store, shown = stores.open(files.train_images)
    train_files = loader.find(ids, places, store, shown)
    sample = read_sample(folder / competition.sample_submission, competition)
    ids = sample.template.ids
    places = [sample.where(image) for image in range(len(ids))]
    store, shown = stores.open(files.test_images)
    train, test = keep(train_files, loader.find(ids, places, store, shown), problems)
    loader.report_depth(shown, problems)
    problems.raise_any()
    assert rows, "a table without images has a problem"
    notes = [
        *loader.notes(),
        *loader.describe_unused(store, files.test_source, competition.sample_submission),
    ]
    return Images(train, rows.labels, rows.ids, groups=rows.groups, notes=notes), Images(test, ids=ids)


def open_test(competition: Competition, folder: Path) -> LazyImages:
    """The test images that the sample submission lists."""
    files = _files(competition)
    return open_listed_images(competition, folder, files.test_images, files.suffix, files.channel_suffixes)


def _files(competition: Competition) -> ImageFolder:
    assert isinstance(competition.files, ImageFolder)
    return competition.files


def detect(candidate: Candidate) -> DetectedLayout | None:
    """A CSV with a column that names image files, and the images that the sample submission names."""
    survey = ImageSurvey(candidate)
    if not survey or candidate.sample_table is None:
        return None
    sample_id = candidate.sample_table.header[0]
    for train_csv in train_csv_names(candidate.folder):
        table = read_table(candidate.folder / train_csv)
        column = survey.id_column(table, sample_id)
        if column is not None:
            found = _detect_in(candidate, survey, table, column)
            if found:
                return found
    return None


def _detect_in(
    candidate: Candidate, survey: ImageSurvey, table: Table, column: IdColumn
) -> DetectedLayout | None:
    ids, channels = table.column(column.name), column.channel_suffixes
    first = channels[0] if channels else ""
    train = survey.find([row_image(text) for text in ids] if column.is_rows else ids, "train", first)
    test = survey.find(sample_images(candidate, survey, first), "test", first)
    if train is None or test is None:
        return None
    labels = detect_labels(table, column.name, candidate, column.is_rows)
    taken = [column.name, *labels.columns]
    folds, groups, fold_notes = detect_groups(table, taken, ids)
    kind = look_at([*train.images, *test.images], candidate.image, len(channels) or None)
    files: dict[str, Any] = {
        "format": "image_folder",
        "train": table.path.relative_to(candidate.folder).as_posix(),
        "train_images": train.named,
        "test_images": test.named,
        "id": column.name,
    }
    files |= labels.files | ({"channel_suffixes": list(channels)} if channels else {})
    files |= {"groups": groups} if groups else {}
    notes = [*_notes(table, column, train, test), *labels.notes, *fold_notes, *kind.notes]
    return DetectedLayout(
        files, *kind.size, kind.channels, resize=kind.resize, resizable=True,
        competition=labels.competition, image=kind.image, folds=folds, notes=notes,
    )  # fmt: skip


def _notes(table: Table, column: IdColumn, train: FoundImages, test: FoundImages) -> list[str]:
    """What is to be said of the column of ids and of the folders."""
    others = f" (also {', '.join(column.others)})" if column.others else ""
    name = table.path.name
    notes = [f"images: column {column.name} of {name}{others} names files in {', '.join(train.places)}"]
    if column.channel_suffixes:
        notes.append(
            f"channels of one image are the files {', '.join(column.channel_suffixes)}, in this order"
        )
    for found, source in ((train, name), (test, "the sample submission")):
        if found.missing:
            count, first = len(found.missing), found.missing[0]
            notes.append(f"{counted(count, 'image')} of {source} or more are not found, such as {first}")
        if found.others:
            taken, others = ", ".join(found.places), ", ".join(found.others)
            notes.append(f"images of the same names are in {others} too: those in {taken} were taken")
    return [*notes, f"test images: those of the sample submission, in {', '.join(test.places)}"]


READERS.add("image_folder", Reader(ImageFolder, sources, read, detect, open_test), rank=3)
