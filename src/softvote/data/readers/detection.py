"""What the readers look at to find out whether a folder of competition files has their layout."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import Any

from softvote.data.csv_table import Table, read_table

ID_NAMES = ("id", "image_id", "imageid", "img_id", "filename", "file_name", "file", "image", "index")


_NOT_FOR_TRAINING = ("*submission*", "*sample*", "*example*", "solution*")


Size = tuple[int, int]


@dataclass(frozen=True)
class Candidate:
    """A folder of competition files whose layout is to be found.

    Attributes:
        folder: where they are.
        name: the competition's.
        sample: name of the sample submission, where there is one.
        image: height and width, where somebody said them.
    """

    folder: Path
    name: str
    sample: str | None
    image: Size | None

    @cached_property
    def sample_table(self) -> Table | None:
        """The sample submission, where there is one."""
        return read_table(self.folder / self.sample) if self.sample else None

    @property
    def sample_ids(self) -> list[str]:
        """The first column of the sample submission."""
        return self.sample_table.column(self.sample_table.header[0]) if self.sample_table else []

    @property
    def sample_columns(self) -> list[str]:
        """The sample submission's columns after the id."""
        return self.sample_table.header[1:] if self.sample_table else []


@dataclass(frozen=True)
class UniqueIds:
    """Ids of which each must stand once.

    Attributes:
        source: the file, or the files, in words.
        ids: in their order.
        numbers: what errors call the places of these ids.
        unit: what is counted so.
    """

    source: str
    ids: Sequence[str]
    numbers: Sequence[int]
    unit: str = "rows"

    @classmethod
    def of_table(cls, table: Table, column: str) -> UniqueIds:
        """A column of a table."""
        return cls(table.path.name, table.column(column), [record.row for record in table.records])


@dataclass(frozen=True)
class DetectedLayout:
    """What a folder holds.

    Attributes:
        files: how its files are laid out, as `competition.files` says it.
        height: of images.
        width: of images.
        channels: of images.
        labels: every train label as it is written, where `competition` says nothing of them.
        resize: whether images have several sizes.
        competition: labels, tags or targets as a pipeline file says them, and further keys beside.
        image: further keys of `competition.image`.
        folds: further keys of `folds`.
        notes: what was taken for what, a line each.
        resizable: whether images of another size than `competition.image` can be brought to it.
        ids: of files that are not CSV tables.
    """

    files: dict[str, Any]
    height: int
    width: int
    channels: int
    labels: Sequence[str] = ()
    resize: bool = False
    competition: Mapping[str, Any] = field(default_factory=dict)
    image: Mapping[str, Any] = field(default_factory=dict)
    folds: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()
    resizable: bool = False
    ids: Sequence[UniqueIds] = ()


def first_file(folder: Path, *patterns: str) -> str | None:
    """The first file that fits, by its path from the folder: earlier patterns before later ones, and files of
    the folder itself before those in folders within."""
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    below = sorted(path.relative_to(folder).as_posix() for path in folder.glob("*/*.csv"))
    for some in (names, below):
        for pattern in patterns:
            for name in some:
                if fnmatch(Path(name).name.lower(), pattern):
                    return name
    return None


def train_csv_name(folder: Path) -> str | None:
    """The name of the file that is most likely the train table."""
    return next(iter(train_csv_names(folder)), None)


def train_csv_names(folder: Path) -> list[str]:
    """Tables that are not for test, the likeliest train table first."""
    names = sorted(path.name for path in folder.iterdir() if path.is_file() and path.suffix.lower() == ".csv")
    patterns = ("train.csv", "training.csv", "train*label*.csv", "*train*.csv", "*label*.csv", "*.csv")
    fitting = [name for pattern in patterns for name in names if fnmatch(name.lower(), pattern)]
    return [
        name
        for name in dict.fromkeys(fitting)
        if not any(fnmatch(name.lower(), pattern) for pattern in _NOT_FOR_TRAINING)
        and not is_for("test", name)
    ]


def is_for(split: str, name: str) -> bool:
    """Whether a file or folder is named for `train` or `test`; a contest, say, is not."""
    return re.search(f"(?<![a-z]){split}", re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()) is not None


def is_unnamed(column: str) -> bool:
    """Whether a column is the row index that pandas saves."""
    return not column or column.lower().startswith("unnamed:")
