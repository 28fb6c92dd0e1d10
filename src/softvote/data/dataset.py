"""A competition's files as arrays, parsed once and kept under the name of what they were parsed from."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softvote.config.competition import Competition
from softvote.data.corrections import correct_labels
from softvote.data.csv_table import read_table
from softvote.data.forms import SampleTable, SubmissionTemplate, as_form, read_sample
from softvote.data.pixels import Pixels, iterate_pixels, open_pixels
from softvote.data.readers.base import MOST, Images, shown
from softvote.data.readers.registry import READERS
from softvote.data.split import ImageSplit
from softvote.errors import ErrorCollector, UserError
from softvote.storage.files import atomic_directory
from softvote.storage.fingerprints import fingerprint, sha256_of
from softvote.storage.paths import Workspace
from softvote.storage.records import JsonRecord

CACHE_VERSION = 2
"""Raised whenever the readers give other arrays for the same files."""


_ARRAYS = ("train_pixels", "train_labels", "test_pixels")


_ADDENDS = ("train_addends", "test_addends")


class DatasetRecord(JsonRecord):
    """What the cache keeps of a data set beside its arrays, in a JSON file."""

    test_ids: list[str]
    sample_header: tuple[str, ...]
    train_fingerprint: str
    test_fingerprint: str
    line_ids: list[str] | None = None
    group_names: list[str] = []
    notes: list[str] = []

    @classmethod
    def path(cls, cache: Path) -> Path:
        """Where it lies in the cache's folder."""
        return cache / "facts.json"


@dataclass(frozen=True)
class Dataset:
    """A competition's images, labels and ids.

    train_pixels: uint8 (N, C, H, W), 0..255; an array, or what gives its rows when asked.
    train_labels: int64 (N,), indices into `Competition.classes`; (N, K) of 0 and 1 of tags; (N, T), the
        index of each target's class, where there are several targets.
    test_pixels: uint8 (T, C, H, W), in the sample submission's order.
    test_ids: T ids as the sample submission writes them, in its order; one an image.
    sample_header: the sample submission's column names.
    train_fingerprint: sha256 of train pixels, labels and addends.
    test_fingerprint: sha256 of test pixels, ids and addends.
    train_addends: int64 (N,), 0..9, fixed for when a row validates; None where none come along.
    test_addends: int64 (T,), 0..9.
    line_ids: the id of every line of the sample submission, where an image has several; None where they are
        `test_ids`.
    train_groups: what further columns say of each training image, str (N,), by the column's name.
    notes: what is to be said of how the files were read.
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
    cache = workspace.cache / _cache_key(competition, folder)
    dataset = _load_cached(cache)
    if dataset is None:
        dataset = _parse(competition, folder)
        _save_cached(dataset, cache)
    return _with_corrections(dataset, competition, folder)


def _with_corrections(dataset: Dataset, competition: Competition, folder: Path) -> Dataset:
    """The dataset with the labels that its pipeline corrects, which makes it another one."""
    if competition.corrections is None:
        return dataset
    pixels, addends = dataset.train_pixels, dataset.train_addends
    path = _existing(folder / competition.corrections)
    labels = correct_labels(dataset.train_labels, addends, competition, path)
    return replace(dataset, train_labels=labels, train_fingerprint=_digest(pixels, labels, addends))


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

    order = _order(sample, answers.ids, str(table.path), where, problems)
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
            path, "is missing", "add it, or mend its name under competition in the pipeline file"
        )
    return path


def _cache_key(competition: Competition, folder: Path) -> str:
    """A key of everything the arrays depend on."""
    sources = READERS[competition.files.format].sources(competition, folder)
    try:
        digests = {path.relative_to(folder).as_posix(): sha256_of(path) for path in sources}
    except OSError as error:
        raise UserError.at(
            error.filename, f"cannot be read ({error.strerror})", "mend it or its rights"
        ) from None
    config = competition.model_dump(
        include={"files", "image", "labels", "hidden_digits", "addend", "sample_submission"}
    ) | competition.model_dump(include={"tags", "targets", "ordered", "form"}, exclude_defaults=True)
    return fingerprint([CACHE_VERSION, config, digests])


def _parse(competition: Competition, folder: Path) -> Dataset:
    train, test = READERS[competition.files.format].read(competition, folder)
    assert train.labels is not None, "readers give labels with train images"
    sample = read_sample(folder / competition.sample_submission, competition)
    template = sample.template
    test = _in_order_of(sample, test, competition)
    return Dataset(
        train.pixels,
        train.labels,
        test.pixels,
        template.ids,
        template.header,
        _digest(train.pixels, train.labels, train.addends),
        _digest(test.pixels, template.ids, test.addends),
        train.addends,
        test.addends,
        None if template.line_ids == template.ids else template.line_ids,
        train.groups,
        [*train.notes, *test.notes],
    )


def _in_order_of(sample: SampleTable, test: Images, competition: Competition) -> Images:
    """Test images in the sample submission's order: by id where they have ids, else as they stand."""
    source, ids = competition.files.test_source, sample.template.ids
    if test.ids is not None:
        problems = ErrorCollector()
        order = _order(sample, test.ids, source, lambda row: f"{source}, image {row + 1}", problems)
        problems.raise_any()
        addends = None if test.addends is None else test.addends[order]
        return Images(test.pixels[order], ids=ids, addends=addends, notes=test.notes)
    if len(ids) != len(test.pixels):
        what = f"has {len(ids)} rows for the {len(test.pixels)} test images of {source}"
        raise UserError.at(sample.table.path, what, "take both from one download")
    return test


def _order(
    sample: SampleTable, ids: list[str], source: str, where: Callable[[int], str], problems: ErrorCollector
) -> NDArray[np.int64]:
    """The position int64 (T,) in `ids` of each of the sample's ids; ids of one side only are noted.

    Args:
        source: the file that `ids` come from.
        where: the place of the id at a position of `ids`.
    """
    position_of = {name: position for position, name in enumerate(ids)}
    wanted = sample.template.ids
    order = np.array([position_of.get(name, -1) for name in wanted], np.int64)
    for row in np.flatnonzero(order < 0)[:MOST].tolist():
        problems.add(sample.where(row), f"id {shown(wanted[row])} is not in {source}", "mend one of them")
    known = set(wanted)
    unknown = (position for position, name in enumerate(ids) if name not in known)
    for position in islice(unknown, MOST):
        what = f"id {shown(ids[position])} is not in {sample.table.path.name}"
        problems.add(where(position), what, "mend one of them")
    return order


def _digest(pixels: Pixels, rest: NDArray[np.int64] | list[str], addends: NDArray[np.int64] | None) -> str:
    digest = hashlib.sha256(repr(pixels.shape).encode())
    for part in iterate_pixels(pixels):
        digest.update(np.ascontiguousarray(part).data)
    digest.update("\n".join(rest).encode() if isinstance(rest, list) else rest.data)
    if addends is not None:
        digest.update(addends.data)
    return digest.hexdigest()


def _load_cached(cache: Path) -> Dataset | None:
    """What an earlier reading kept; None where it is missing or no longer what was written."""
    try:
        # Checked in a mapping of its own: pages that were read for the check alone go with it.
        return _kept(cache) if _fingerprints_match(_kept(cache)) else None
    except (OSError, ValueError, TypeError, KeyError, EOFError):
        return None


def _kept(cache: Path) -> Dataset:
    """What lies there, with memory-mapped arrays: a stage holds only the pixels it looks at."""
    record = DatasetRecord.read(DatasetRecord.path(cache))
    if record is None:
        raise ValueError("no record")
    with_addends = _ADDENDS if (cache / f"{_ADDENDS[0]}.npy").exists() else ()
    # Pages are copied when written to, because torch warns of arrays that cannot be.
    arrays: dict[str, Any] = {name: open_pixels(cache / f"{name}.npy") for name in (*_ARRAYS, *with_addends)}
    facts = dict(record)
    groups = {
        name: np.load(cache / f"group{number}.npy", mmap_mode="r", allow_pickle=False)
        for number, name in enumerate(facts.pop("group_names"))
    }
    return Dataset(**arrays, **facts, train_groups=groups)


def _fingerprints_match(dataset: Dataset) -> bool:
    """Whether the arrays are those whose digests were kept with them."""
    return (dataset.train_fingerprint, dataset.test_fingerprint) == (
        _digest(dataset.train_pixels, dataset.train_labels, dataset.train_addends),
        _digest(dataset.test_pixels, dataset.test_ids, dataset.test_addends),
    )


def _save_cached(dataset: Dataset, cache: Path) -> None:
    """Keep the arrays whole or not at all; another process may have done so meanwhile."""
    if _load_cached(cache) is not None:
        return
    shutil.rmtree(cache, ignore_errors=True)
    try:
        with atomic_directory(cache) as temporary:
            arrays = {name: getattr(dataset, name) for name in (*_ARRAYS, *_ADDENDS)}
            for name, array in arrays.items():
                if array is not None:
                    np.save(temporary / f"{name}.npy", array, allow_pickle=False)
            for number, column in enumerate(dataset.train_groups.values()):
                np.save(temporary / f"group{number}.npy", column, allow_pickle=False)
            others = {name: value for name, value in vars(dataset).items() if name not in arrays}
            names = list(others.pop("train_groups"))
            DatasetRecord(**others, group_names=names).write(DatasetRecord.path(temporary))
    except OSError as error:
        raise UserError.at(cache, f"cannot be written ({error.strerror})", "free it or pass `root`") from None
    except UserError:
        if _load_cached(cache) is None:
            raise
