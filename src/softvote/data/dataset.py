"""A competition's files as arrays, parsed once and kept under the name of what they were parsed from."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softvote.config.competition import Competition
from softvote.data.cache_folders import read_looks, remove_unfinished, stamps_file, unfinished_folder
from softvote.data.checksums import look_at_files, write_stamps
from softvote.data.corrections import correct_labels
from softvote.data.csv_table import read_table
from softvote.data.dataset_record import (
    DatasetRecord,
    cache_key,
    read_record,
    source_key,
    stamp_arrays,
    write_record,
)
from softvote.data.forms import SubmissionTemplate, as_form, read_sample
from softvote.data.image_cache import SPLITS, ImageCache, PixelDigest
from softvote.data.pixels import LARGE, Pixels, bytes_of, open_pixels, save_pixels
from softvote.data.reader_configs import DecodedFiles
from softvote.data.readers.registry import READERS
from softvote.data.sample_order import find_order, put_in_sample_order
from softvote.data.split import ImageSplit
from softvote.errors import ErrorCollector, UserError
from softvote.storage.cache import disk_cache
from softvote.storage.files import atomic_directory
from softvote.storage.locks import file_lock
from softvote.storage.paths import Workspace

_ARRAYS = ("train_pixels", "train_labels", "test_pixels")


_LONG_AGO = 10_000_000_000  # nanoseconds, longer than the tick of any file system's clock


_ADDENDS = ("train_addends", "test_addends")


@dataclass(frozen=True)
class Dataset:
    """A competition's images, labels and ids.

    Attributes:
        train_pixels: uint8 (N, C, H, W), 0..255; an array, or what gives its rows when asked.
        train_labels: int64 (N,), indices into `Competition.classes`; (N, K) of 0 and 1 of tags; (N, T), the
            index of each target's class, where there are several targets.
        test_pixels: uint8 (T, C, H, W), in the sample submission's order.
        test_ids: T ids as the sample submission writes them, in its order; one per image.
        sample_header: the sample submission's column names.
        train_fingerprint: sha256 of train pixels, labels and addends.
        test_fingerprint: sha256 of test pixels, ids and addends.
        train_addends: int64 (N,), 0..9, fixed for when a row validates; None where none come along.
        test_addends: int64 (T,), 0..9.
        line_ids: the id of every line of the sample submission, where an image has several; None where they
            are `test_ids`.
        train_groups: what further columns say of each training image, str (N,), by the column's name.
        notes: what is to be said of how the files were read.
        train_source: fingerprint of the files, labels and addends of the training rows, whatever the size of
            their images; empty where they were not read from files.
    """

    train_pixels: Pixels
    train_labels: NDArray[np.int64]
    test_pixels: Pixels
    test_ids: list[str]
    sample_header: tuple[str, ...]
    train_fingerprint: str
    test_fingerprint: str
    train_addends: NDArray[np.int64] | None = None
    test_addends: NDArray[np.int64] | None = None
    line_ids: list[str] | None = None
    train_groups: Mapping[str, NDArray[np.str_]] = field(default_factory=dict)
    notes: Sequence[str] = ()
    train_source: str = ""

    @property
    def template(self) -> SubmissionTemplate:
        """What the sample submission asks for."""
        return SubmissionTemplate(self.sample_header, self.test_ids, self.line_ids or self.test_ids)

    @property
    def train(self) -> ImageSplit:
        """The training images, with their labels."""
        return ImageSplit(self.train_pixels, self.train_labels, addends=self.train_addends)

    @property
    def test(self) -> ImageSplit:
        """The test images, with their ids."""
        return ImageSplit(self.test_pixels, ids=self.test_ids, addends=self.test_addends)


def read_dataset(competition: Competition, workspace: Workspace) -> Dataset:
    """Read a competition's files, or what an earlier reading of the same files left behind.

    Raises:
        UserError: every problem of the files, one line each, with file, row and column.
    """
    folder = _input_folder(competition, workspace)
    known = read_looks(workspace, competition.name)
    sources = READERS[competition.files.format].sources(competition, folder)
    stamps = look_at_files(sources, folder, {key: of for look in known.values() for key, of in look.items()})
    cache = workspace.cache / cache_key(competition, stamps)
    dataset = _load_cached(cache) or _read_anew(competition, folder, cache)
    look = stamps_file(cache, competition.name)
    if known.get(look) != stamps:
        with contextlib.suppress(UserError):  # which only makes the next start slower
            write_stamps(look, stamps)
    dataset = _with_corrections(dataset, competition, folder, cache)
    source = source_key(competition, stamps, dataset.train_labels, dataset.train_addends)
    return replace(dataset, train_source=source)


def _read_anew(competition: Competition, folder: Path, cache: Path) -> Dataset:
    """Parse the files and keep what they hold; image files by one process, while others wait."""
    decoded = isinstance(competition.files, DecodedFiles)
    with file_lock(cache) if decoded else contextlib.nullcontext():
        if decoded and (dataset := _load_cached(cache)) is not None:
            return dataset
        record = read_record(cache)
        known = record if record and record.lazy else None
        remove_unfinished(cache, competition.name)
        lazy = isinstance(competition.files, DecodedFiles) and competition.files.images == "lazy"
        images = ImageCache(unfinished_folder(cache, competition.name), lazy, known is not None)
        dataset = _parse(competition, folder, images)
        if images.stays_in_files and known is not None:
            return replace(
                dataset,
                train_fingerprint=known.train_fingerprint,
                test_fingerprint=known.test_fingerprint,
                notes=known.notes,
            )
        _save_cached(dataset, cache, images)
        if decoded or bytes_of(dataset.train_pixels) <= LARGE:
            return dataset
        return _load_cached(cache) or dataset  # instead of what was read whole, what all processes map


def _with_corrections(dataset: Dataset, competition: Competition, folder: Path, cache: Path) -> Dataset:
    """The dataset with the labels that its pipeline corrects, which makes it another one."""
    if competition.corrections is None:
        return dataset
    pixels, addends = dataset.train_pixels, dataset.train_addends
    path = _existing(folder / competition.corrections)
    labels = correct_labels(dataset.train_labels, addends, competition, path)
    depends_on = {"given": dataset.train_fingerprint, "labels": hashlib.sha256(labels.data).hexdigest()}
    # All pixels are gone through for it, so it is kept.
    found = disk_cache(cache)(
        depends_on, lambda: {"digest": PixelDigest.of(pixels).with_rest(labels, addends)}
    )
    return replace(dataset, train_labels=labels, train_fingerprint=found["digest"])


def read_solution(competition: Competition, workspace: Workspace) -> NDArray[np.int64] | None:
    """True labels int64 of the T test images in the sample submission's order, where they are known.

    Returns:
        (T,), (T, K) or (T, targets), as the task has them; None where no file holds them.

    Raises:
        UserError: labels that do not exist, or ids other than the sample submission's, one line each.
    """
    if competition.solution is None:
        return None
    folder = _input_folder(competition, workspace)
    form, problems = as_form(competition.submission_form), ErrorCollector()
    sample = read_sample(_existing(folder / competition.sample_submission), competition)
    table = read_table(_existing(folder / competition.solution))
    form.check_header(table, competition.label_space, problems)
    problems.raise_any()
    answers = form.read_answers(table, competition, problems)
    line_of = answers.lines or range(len(answers.ids))

    def where(row: int) -> str:
        return table.where(line_of[row], table.header[0])

    order = find_order(sample, answers.ids, str(table.path), where, problems)
    problems.raise_any()
    return answers.labels[order]


def _input_folder(competition: Competition, workspace: Workspace) -> Path:
    folder = workspace.input(competition.name)
    if not folder.is_dir():
        hint = f"get it with: `data path/to/{competition.name}.zip`"
        if competition.kaggle == competition.name:
            hint = (
                f"get it from Kaggle with: `download {competition.name}`, or {hint.removeprefix('get it ')}"
            )
        raise UserError.at(folder, "no such folder", hint)
    return folder


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise UserError.at(
            path, "is missing", "add it, or fix its name under competition in the pipeline file"
        )
    return path


def _parse(competition: Competition, folder: Path, images: ImageCache) -> Dataset:
    train, test = READERS[competition.files.format].read(competition, folder, images.keep)
    assert train.labels is not None, "readers give labels with train images"
    sample = read_sample(folder / competition.sample_submission, competition)
    template = sample.template
    as_read, test = test, put_in_sample_order(sample, test, competition)
    if test is not as_read:  # what was written while it was read has another order
        images.digests.pop(SPLITS[1], None)
    digests = ("", "")  # of files that were gone through before
    if images.digests or not images.stays_in_files:
        digests = (
            images.digest(SPLITS[0], train.pixels).with_rest(train.labels, train.addends),
            images.digest(SPLITS[1], test.pixels).with_rest(template.ids, test.addends),
        )
    return Dataset(
        train.pixels,
        train.labels,
        test.pixels,
        template.ids,
        template.header,
        digests[0],
        digests[1],
        train.addends,
        test.addends,
        None if template.line_ids == template.ids else template.line_ids,
        train.groups,
        [*train.notes, *test.notes],
    )


def _load_cached(cache: Path) -> Dataset | None:
    """What an earlier reading kept; None where it is missing, left to files, or not what was written."""
    record = read_record(cache)
    if record is None or record.lazy:
        return None
    try:
        # Files that nobody wrote to since are not gone through; all others are, in a mapping of their own:
        # pages that were read for the check alone go with it.
        if (found := stamp_arrays(cache)) != record.arrays:
            if not _fingerprints_match(_open_cached(cache, record)):
                return None
            write_record(cache, record.model_copy(update={"arrays": found}))
        return _open_cached(cache, record)
    except (OSError, ValueError, TypeError, KeyError, EOFError):
        return None


def _open_cached(cache: Path, record: DatasetRecord) -> Dataset:
    """What lies there, with memory-mapped arrays: a stage holds only the pixels it looks at."""
    with_addends = _ADDENDS if (cache / f"{_ADDENDS[0]}.npy").exists() else ()
    # Pages are copied when written to, because torch warns of arrays that cannot be.
    arrays: dict[str, Any] = {
        name: open_pixels(cache / f"{name}.npy")
        if name in SPLITS
        else np.asarray(np.load(cache / f"{name}.npy", mmap_mode="c", allow_pickle=False))
        for name in (*_ARRAYS, *with_addends)
    }
    groups = {
        name: np.load(cache / f"group{number}.npy", mmap_mode="r", allow_pickle=False)
        for number, name in enumerate(record.group_names)
    }
    facts = {name: value for name, value in record if name in Dataset.__dataclass_fields__}
    return Dataset(**arrays, **facts, train_groups=groups)


def _fingerprints_match(dataset: Dataset) -> bool:
    """Whether the arrays are those whose digests were kept with them."""
    return (dataset.train_fingerprint, dataset.test_fingerprint) == (
        PixelDigest.of(dataset.train_pixels).with_rest(dataset.train_labels, dataset.train_addends),
        PixelDigest.of(dataset.test_pixels).with_rest(dataset.test_ids, dataset.test_addends),
    )


def _save_cached(dataset: Dataset, cache: Path, images: ImageCache) -> None:
    """Keep the arrays whole or not at all; another process may have done so meanwhile."""
    if _load_cached(cache) is not None:
        return
    try:
        shutil.rmtree(cache, ignore_errors=True)
        if images.folder.exists() and not images.stays_in_files:
            _write_arrays(images.folder, dataset, images)
            for journal in images.folder.glob("*_pixels.json"):
                journal.unlink()
            images.folder.replace(cache)
            return
        shutil.rmtree(images.folder, ignore_errors=True)
        with atomic_directory(cache) as temporary:
            _write_arrays(temporary, dataset, images)
    except OSError as error:
        raise UserError.at(
            cache, f"cannot be written ({error.strerror})", "make it writable or pass `root`"
        ) from None
    except UserError:
        if _load_cached(cache) is None:
            raise


def _write_arrays(folder: Path, dataset: Dataset, images: ImageCache) -> None:
    """Write what is not there yet, and the record."""
    arrays = {name: getattr(dataset, name) for name in (*_ARRAYS, *_ADDENDS)}
    for name, array in arrays.items() if not images.stays_in_files else ():
        if name in SPLITS and name not in images.digests:
            save_pixels(folder / f"{name}.npy", array)
        elif array is not None and name not in SPLITS:
            np.save(folder / f"{name}.npy", array, allow_pickle=False)
    for number, column in enumerate(dataset.train_groups.values()):
        np.save(folder / f"group{number}.npy", column, allow_pickle=False)
    past = time.time_ns() - _LONG_AGO
    for path in folder.glob("*.npy"):  # so that whoever writes to one sets it to another time for certain
        os.utime(path, ns=(past, past))
    others = {name: value for name, value in vars(dataset).items() if name not in (*arrays, "train_source")}
    names = list(others.pop("train_groups"))
    record = DatasetRecord(
        **others, group_names=names, arrays=stamp_arrays(folder), lazy=images.stays_in_files, digest=""
    )
    write_record(folder, record)
