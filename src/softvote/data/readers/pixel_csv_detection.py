"""How a folder with pixels in CSV files is recognised, and what its columns mean."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from softvote.data.csv_table import Table, open_table, read_table
from softvote.data.label_detection import detect_groups, detect_labels
from softvote.data.pixel_cells import WHOLE
from softvote.data.readers.detection import (
    ID_NAMES,
    Candidate,
    DetectedLayout,
    Size,
    first_file,
    train_csv_name,
)
from softvote.errors import ErrorCollector, UserError
from softvote.task import LARGEST_ADDEND, LARGEST_DIGIT


def find_numbered_alike(names: Sequence[str]) -> list[int]:
    """Positions of the names that are one word with different numbers, as pixel0, pixel1, or 1x1, 1x2."""
    words = [re.sub("[0-9]+", "0", name) if re.search("[0-9]", name) else "" for name in names]
    commonest = Counter(filter(None, words)).most_common(1)
    return [place for place, word in enumerate(words) if commonest and word == commonest[0][0]]


def detect(candidate: Candidate) -> DetectedLayout | None:
    """A train and a test CSV whose pixels are the same columns."""
    folder = candidate.folder
    train_csv = train_csv_name(folder)
    test_csv = first_file(folder, "test.csv", "testing.csv", "*test*.csv")
    if not (train_csv and test_csv) or train_csv == test_csv:
        return None
    if not (_has_header(folder / train_csv) and _has_header(folder / test_csv)):
        return _detect_without_header(candidate, train_csv, test_csv)
    train, test = read_table(folder / train_csv), read_table(folder / test_csv)
    ids = [name for name in test.header if name.lower() in ID_NAMES and _fits_sample(test, name, candidate)]
    id_name = ids[0] if ids else None
    numbered = {train.header[place] for place in find_numbered_alike(train.header)}
    # Columns of the test file are not labels; where pixels are not numbered, only the label is missing there.
    missing = [name for name in train.header if name not in test.header]
    among = [name for name in missing if name not in numbered] or missing
    labels = detect_labels(train, id_name or "", candidate, among=among)
    left = [name for name in train.header if name not in {*labels.columns, id_name}]
    pixels = [left[place] for place in find_numbered_alike(left)]
    files: dict[str, Any] = {"format": "pixel_csv", "train": train_csv, "test": test_csv} | labels.files
    files |= {"id": id_name} if id_name else {}
    size = _size_of_pixels(len(left), candidate.image)
    if size is None and (size := _size_of_pixels(len(pixels), candidate.image)):
        there = dict.fromkeys([*left, *test.header])
        files["ignore"] = [name for name in there if name not in {*pixels, id_name}]
    if size is None:
        raise _no_size(len(left), candidate, train.path)
    competition = dict(labels.competition)
    notes = [*labels.notes]
    if (addend := _find_addend(train, test, files)) is not None:
        files |= {"addend": addend}
        files["ignore"].remove(addend)
        competition |= {"labels": {"first": 0, "last": LARGEST_DIGIT + LARGEST_ADDEND}}
        competition |= {"hidden_digits": 1, "addend": True}
        notes.append(f"column {addend}: a known integer; label less {addend} is a digit in every row")
    taken = [*labels.columns, *(pixels if "ignore" in files else left), id_name or "", addend or ""]
    folds, _, fold_notes = detect_groups(train, taken, [])
    order = f"by column {id_name}" if id_name else "in the sample submission's order"
    notes += [f"test rows of {test_csv}: {order}", *fold_notes]
    if not files.get("ignore", True):
        del files["ignore"]
    if "ignore" in files:
        notes.append(f"columns that are not pixels: {', '.join(map(repr, files['ignore']))}")
    return DetectedLayout(files, *size, competition=competition, folds=folds, notes=notes)


def _find_addend(train: Table, test: Table, files: Mapping[str, Any]) -> str | None:
    """The column of integers 0..9, in both files, that leaves a digit of each label; None without.

    Labels go beyond a digit, so that a column of few values beside labels that are digits is none.
    """
    labels = train.column(files.get("label", "label")) if "label_cells" not in files else []
    if not labels or not all(map(str.isdecimal, labels)) or max(map(int, labels)) <= LARGEST_DIGIT:
        return None
    addends = {str(value) for value in range(LARGEST_ADDEND + 1)}
    for name in files.get("ignore", []):
        if name not in train.header or name not in test.header:
            continue
        values = train.column(name)
        if not {*values, *test.column(name)} <= addends:
            continue
        digits = [int(label) - int(value) for label, value in zip(labels, values, strict=True)]
        if min(digits) >= 0 and max(digits) <= LARGEST_DIGIT:
            return str(name)
    return None


def _fits_sample(test: Table, name: str, candidate: Candidate) -> bool:
    """Whether a column holds the sample's ids; a pixel may be called index too."""
    return not candidate.sample_ids or set(test.column(name)) == set(candidate.sample_ids)


def _has_header(path: Path) -> bool:
    """Whether the first line is more than numbers."""
    with path.open("rb") as file:
        line = file.readline(1 << 20).decode("utf-8-sig", "replace")
    cells = [text.strip().strip('"') for text in line.split(",")]
    return len(cells) < 2 or not all(WHOLE.fullmatch(text) for text in cells)


def _detect_without_header(candidate: Candidate, train_csv: str, test_csv: str) -> DetectedLayout | None:
    """A label and pixels in train, pixels alone in test, and no names of columns."""
    problems = ErrorCollector()
    tables = [
        open_table(candidate.folder / name, problems, has_header=False) for name in (train_csv, test_csv)
    ]
    problems.raise_any()
    train, test = tables
    if train is None or test is None or len(train.header) != len(test.header) + 1:
        return None
    size = _size_of_pixels(len(test.header), candidate.image)
    if size is None:
        raise _no_size(len(test.header), candidate, test.path)
    first, last = "0", train.header[-1]
    is_last = len(set(train.column(first))) == 1 < len(set(train.column(last)))
    label, word, other = (last, "last", "first") if is_last else (first, "first", "last")
    files = {"format": "pixel_csv", "train": train_csv, "test": test_csv, "label": label, "has_header": False}
    notes = [
        f"{train_csv} has no header: the {word} column was read as the label, not the {other}",
        f"test rows of {test_csv}: in the sample submission's order",
    ]
    return DetectedLayout(files, *size, labels=train.column(label), notes=notes)


def _size_of_pixels(count: int, image: Size | None) -> tuple[int, int, int] | None:
    """Height, width and channels of images with so many pixel columns."""
    for channels in (1, 3):
        side = math.isqrt(count // channels)
        height, width = image or (side, side)
        if count and height * width * channels == count:
            return height, width, channels
    return None


def _no_size(count: int, candidate: Candidate, path: Path) -> UserError:
    image = candidate.image
    tried = f"neither {image[0]} x {image[1]}" if image else "neither a square"
    fix = f"pass `image` HxW, or write pipelines/{candidate.name}.yaml by hand"
    what = f"{count} pixel columns are {tried} in one channel nor in three"
    return UserError.at(f"{path}, row 1", what, fix)
