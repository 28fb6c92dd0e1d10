"""What every reader gives and needs: images, class indices, and files that are there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from softvote.config.entries import FilesConfig
from softvote.config.registry import Registry
from softvote.data.pixels import Pixels
from softvote.errors import MOST_OF_A_KIND, ErrorCollector, one_of
from softvote.task import LARGEST_ADDEND

if TYPE_CHECKING:
    from softvote.config.competition import Competition
    from softvote.data.file_images import FileImages
    from softvote.data.readers.detection import Candidate, DetectedLayout


@dataclass(frozen=True)
class Images:
    """Images of one split, in the order of their file.

    Attributes:
        pixels: uint8 (N, C, H, W), 0..255.
        labels: int64 (N,), indices into `Competition.classes`, or (N, K) or (N, T) as `TaskKind` has them;
            None where unknown.
        ids: as written in the files; None where images have none.
        addends: int64 (N,), 0..9; None where none come along.
        groups: what further columns say of each image, str (N,), by the column's name; empty of test images.
        notes: what is to be said of how they were read.
    """

    pixels: Pixels
    labels: NDArray[np.int64] | None = None
    ids: list[str] | None = None
    addends: NDArray[np.int64] | None = None
    groups: Mapping[str, NDArray[np.str_]] = field(default_factory=dict)
    notes: Sequence[str] = ()


KeepImages = Callable[["FileImages", "FileImages", ErrorCollector], tuple[Pixels, Pixels]]
"""(train images, test images, where problems are noted) -> both, where they are kept. All were gone through,
so that what is wrong with any of them is noted and what was done to them is known."""


@dataclass(frozen=True)
class LazyImages:
    """Test images that are loaded a few at a time, without a look at training files.

    Attributes:
        count: how many there are.
        ids: as written in the files; None where images have none.
        load: gives the images at some positions, and what is wrong with those that cannot be had, by their
            place among these; such images are black. It raises nothing for what is wrong with single images.
    """

    count: int
    ids: list[str] | None
    load: Callable[[Sequence[int]], tuple[Images, dict[int, str]]]


def lazy_images(images: Images) -> LazyImages:
    """Test images that lie in memory, none of which is damaged."""

    def load(positions: Sequence[int]) -> tuple[Images, dict[int, str]]:
        rows = np.asarray(positions, np.int64)
        addends = None if images.addends is None else images.addends[rows]
        return Images(images.pixels[rows], addends=addends), {}

    return LazyImages(len(images.pixels), images.ids, load)


@dataclass(frozen=True)
class Reader:
    """Reads one layout of files, and recognises it.

    Attributes:
        files: what a pipeline file says of it under `competition.files`.
        sources: gives every file whose content the images depend on, sample_submission among them, of a
            competition in a folder; raises a UserError with a line for each that is missing.
        read: gives the train images with labels, and the test images; raises a UserError with every problem
            of the files, one line each, with file, row and column. Images that are files of their own it
            hands to the function it is given, all others it has read.
        detect: says how a folder that looks like it is laid out; None where it does not.
        open_test: opens the test images alone, for predictions that must come whatever single images are
            like; reads nothing of the training files, and raises a UserError where there are none at all.
    """

    files: type[FilesConfig]
    sources: Callable[[Competition, Path], list[Path]]
    read: Callable[[Competition, Path, KeepImages], tuple[Images, Images]]
    detect: Callable[[Candidate], DetectedLayout | None]
    open_test: Callable[[Competition, Path], LazyImages]


READERS: Registry[Reader] = Registry()
"""The reader of every `competition.files.format`."""


def existing(competition: Competition, folder: Path, names: Iterable[str]) -> list[Path]:
    """The paths of these files or folders and of the sample submission.

    Raises:
        UserError: all that are missing, one line each.
    """
    problems = ErrorCollector()
    paths = [folder / name for name in dict.fromkeys([*names, competition.sample_submission])]
    for path in paths:
        if not path.exists():
            problems.add(path, "is missing", "add it, or fix its name under competition in the pipeline file")
    problems.raise_any()
    return paths


def class_indices(
    labels: Sequence[str],
    competition: Competition,
    where: Callable[[int], str],
    problems: ErrorCollector,
    of: Sequence[str] = (),
) -> NDArray[np.int64]:
    """Indices int64 (N,) of labels as written in a file; unknown ones are noted and become 0.

    Args:
        where: the place of the label at a position of `labels`.
        of: the labels of one of several targets; else the competition's classes.
    """

    def wrong(label: str) -> str:
        found = f"{quote(label)} is not a class" if label else "is empty"
        return f"{found}; fix it or competition.labels: {_format_known(competition, label, of)}"

    index_of = {name: index for index, name in enumerate(of or competition.classes)}
    return look_up(labels, index_of, wrong, where, problems)


def look_up(
    cells: Sequence[str],
    values: Mapping[str, int],
    wrong: Callable[[str], str],
    where: Callable[[int], str],
    problems: ErrorCollector,
) -> NDArray[np.int64]:
    """What cells stand for, int64 (N,); those without a value are noted and become 0.

    Args:
        values: by the text of a cell without blanks around it; none is negative.
        wrong: what to say of a text that has no value.
        where: the place of the cell at a position of `cells`.
    """
    found = np.array([values.get(cell.strip(), -1) for cell in cells], np.int64).reshape(-1)
    for position in np.flatnonzero(found < 0)[:MOST_OF_A_KIND].tolist():
        problems.add(where(position), wrong(cells[position].strip()))
    return np.maximum(found, 0)


def _format_known(competition: Competition, label: str, of: Sequence[str]) -> str:
    from softvote.config.competition import LabelRange

    labels = competition.labels
    if of:
        return one_of(list(of[:20]), label)
    if isinstance(labels, LabelRange):
        return f"integers {labels.first}..{labels.last}"
    return one_of(competition.classes, label)


def addends_of(
    cells: Sequence[str], where: Callable[[int], str], problems: ErrorCollector
) -> NDArray[np.int64]:
    """Integers 0..9 as int64 (N,) of addends as written in a file; others are noted and become 0.

    Args:
        where: the place of the addend at a position of `cells`.
    """

    def wrong(text: str) -> str:
        found = (
            f"addend {quote(text)} is not an integer 0..{LARGEST_ADDEND}" if text else "the addend is empty"
        )
        return f"{found}; fix it"

    known = {str(addend): addend for addend in range(LARGEST_ADDEND + 1)}
    return look_up(cells, known, wrong, where, problems)


def report_impossible_sums(
    labels: NDArray[np.int64],
    addends: NDArray[np.int64],
    competition: Competition,
    where: Callable[[int], str],
    problems: ErrorCollector,
) -> None:
    """Note labels that the hidden digits and the addend cannot add up to.

    Args:
        labels: int64 (N,), class indices, which are the sums themselves.
        addends: int64 (N,), 0..9.
    """
    most = competition.task.num_values - 1
    shows = labels - addends
    for position in np.flatnonzero((shows < 0) | (shows > most))[:MOST_OF_A_KIND].tolist():
        what = f"label {labels[position]} less addend {addends[position]} is {shows[position]}"
        problems.add(where(position), f"{what}, and hidden digits give 0..{most}", "fix one of them")


def report_duplicates(ids: Sequence[str], where: Callable[[int], str], problems: ErrorCollector) -> None:
    """Note ids that are empty or stand twice."""
    first: dict[str, int] = {}
    bad = (
        position
        for position, name in enumerate(ids)
        if not name or first.setdefault(name, position) != position
    )
    for position in islice(bad, MOST_OF_A_KIND):
        name = ids[position]
        if name:
            problems.add(where(position), f"id {quote(name)} is already at {where(first[name])}", "drop one")
        else:
            problems.add(where(position), "is empty", "write the id")


def quote(text: str) -> str:
    """A cell's text in quotes, on one line, and not longer than a message can bear."""
    return repr(text if len(text) <= 40 else f"{text[:37]}...")
