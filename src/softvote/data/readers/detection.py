"""What the readers look at to find out whether a folder of competition files has their layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

from softvote.data.csv_table import Table, open_table
from softvote.errors import ErrorCollector, UserError

LABEL_NAMES = ("label", "labels", "class", "target", "category", "digit", "sum", "y")


ID_NAMES = ("id", "image_id", "imageid", "img_id", "filename", "file_name", "file", "image", "index")


Size = tuple[int, int]


class Candidate(NamedTuple):
    """A folder of competition files whose layout is to be found.

    name: the competition's.
    sample: name of the sample submission, where there is one.
    image: height and width, where somebody said them.
    """

    folder: Path
    name: str
    sample: str | None
    image: Size | None


@dataclass(frozen=True)
class DetectedLayout:
    """What a folder holds: how its files are laid out, the images' size, and every train label."""

    files: dict[str, Any]
    height: int
    width: int
    channels: int
    labels: Sequence[str]
    resize: bool = False


def first_file(folder: Path, *patterns: str) -> str | None:
    """The name of the first file that fits, earlier patterns before later ones."""
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    return next((name for pattern in patterns for name in names if fnmatch(name.lower(), pattern)), None)


def train_csv_name(folder: Path) -> str | None:
    """The name of the file that is most likely the train table."""
    return first_file(folder, "train.csv", "training.csv", "train*label*.csv", "*train*.csv", "*label*.csv")


def read_table(path: Path) -> Table:
    """Open a table.

    Raises:
        UserError: it cannot be read.
    """
    problems = ErrorCollector()
    table = open_table(path, problems)
    problems.raise_any()
    assert table, "a table that cannot be read has a problem"
    return table


def label_column(table: Table, candidates: list[str]) -> str:
    """The candidate with a usual name, else the only one."""
    usual = [name for name in candidates if name.lower() in LABEL_NAMES]
    if usual or len(candidates) == 1:
        return (usual or candidates)[0]
    usual = [name for name in table.header if name.lower() in LABEL_NAMES]
    if usual:
        return usual[0]
    tried = ", ".join(LABEL_NAMES)
    raise UserError.at(
        f"{table.path}, row 1", f"no column looks like the label ({tried})", "write the pipeline by hand"
    )
