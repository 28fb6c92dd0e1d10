"""`json`: files with a list of records, each an image's bands as lists of numbers, its id and its label."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from softvote.config.schema import ConfigError
from softvote.data.csv_table import Table, table_of
from softvote.data.decoding import likely_range
from softvote.data.flat_pixels import FlatPixels, shape_pixels
from softvote.data.label_cells import read_labels
from softvote.data.label_detection import detect_groups, detect_labels
from softvote.data.readers.base import (
    READERS,
    Images,
    KeepImages,
    LazyImages,
    Reader,
    existing,
    lazy_images,
    report_duplicates,
)
from softvote.data.readers.detection import Candidate, DetectedLayout, UniqueIds
from softvote.errors import ErrorCollector, UserError
from softvote.storage.files import read_bytes
from softvote.words import counted

if TYPE_CHECKING:
    from softvote.config.competition import Competition


_FEWEST = 16  # numbers in a list that may be an image


_BETWEEN = re.compile(r"[\s,]*")


class JsonBands(FlatPixels):
    """Files with a list of records, each an image's bands as lists of numbers, its id and its label."""

    format: Literal["json"]
    """`json`: a list of records, each an image's bands as lists of numbers, its id and its label."""
    train: str = "train.json"
    """File of the training records, by its path in the competition's folder."""
    test: str = "test.json"
    """File of the test records, by its path in the competition's folder."""
    id: str = "id"
    """Name of the id's field."""
    bands: Annotated[list[str], Field(min_length=1)] = ["image"]
    """Names of the fields that are the channels of an image, each a list of numbers, row by row."""

    @property
    def test_source(self) -> str:
        return self.test

    def check_channels(self, channels: int) -> None:
        """Refuse another number of bands."""
        if len(self.bands) != channels:
            raise ConfigError.at(
                "", f"files: {counted(len(self.bands), 'band')} for {counted(channels, 'channel')}", "fix one"
            )


def sources(competition: Competition, folder: Path) -> list[Path]:
    """Both files and the sample submission."""
    files = _files(competition)
    return existing(competition, folder, [files.train, files.test])


def read(competition: Competition, folder: Path, keep: KeepImages | None = None) -> tuple[Images, Images]:
    """Train images with labels, and test images with their ids."""
    files, problems = _files(competition), ErrorCollector()
    table, pixels = _load(folder / files.train, competition, problems)
    rows = read_labels(table, files.id, competition, problems) if table else None
    test_table, test_pixels = _load(folder / files.test, competition, problems)
    test_ids: list[str] = []
    if test_table and test_table.has(files.id, problems):
        test_ids = test_table.column(files.id)
        report_duplicates(test_ids, lambda row: test_table.where(row, files.id), problems)
    problems.raise_any()
    assert rows, "a file without labels has a problem"
    train = pixels[rows.positions]
    return Images(train, rows.labels, rows.ids, groups=rows.groups), Images(test_pixels, ids=test_ids)


def open_test(competition: Competition, folder: Path) -> LazyImages:
    """The test records, which hold no single image that could be damaged without the file."""
    files, problems = _files(competition), ErrorCollector()
    table, pixels = _load(folder / files.test, competition, problems, may_be_empty=True)
    ids = [] if table is None else table.column(files.id) if table.has(files.id, problems) else None
    problems.raise_any()
    return lazy_images(Images(pixels, ids=ids))


def _files(competition: Competition) -> JsonBands:
    assert isinstance(competition.files, JsonBands)
    return competition.files


def _load(
    path: Path, competition: Competition, problems: ErrorCollector, may_be_empty: bool = False
) -> tuple[Table | None, NDArray[np.uint8]]:
    """All fields but the bands as a table, and uint8 (N, C, H, W); no table of no records."""
    files, image = _files(competition), competition.image
    nothing = np.zeros((0, image.channels, image.height, image.width), np.uint8)
    columns: dict[str, list[str]] = {}
    rows: list[NDArray[np.float32]] = []
    before = len(problems)
    for number, record in enumerate(iterate_records(path, problems), 1):
        bands = [_band(record.get(name)) for name in files.bands]
        others = {name: _text(value) for name, value in record.items() if name not in files.bands}
        if rows and set(others) != set(columns):
            problems.add(f"{path}, record {number}", f"has other fields than record 1: {', '.join(others)}")
        elif any(band is None for band in bands):
            lacks = files.bands[bands.index(None)]
            what = f"{lacks} is not a list of numbers" if lacks in record else f"no field '{lacks}'"
            problems.add(f"{path}, record {number}", what, "fix files.bands, or the record")
        elif len({len(band) for band in bands if band is not None}) > 1 or (
            rows and len(rows[0]) != sum(len(band) for band in bands if band is not None)
        ):
            problems.add(f"{path}, record {number}", "its bands are not of one length with others")
        else:
            rows.append(np.stack([band for band in bands if band is not None], axis=1).reshape(-1))
            for name, text in others.items():
                columns.setdefault(name, []).append(text)
        if len(problems) - before > problems.shown:
            break
    if len(problems) > before:
        return None, nothing
    if not rows and may_be_empty:
        return None, nothing
    if not rows:
        problems.add(path, "holds no records", "download it again")
        return None, nothing
    return table_of(path, columns), shape_pixels(np.stack(rows), path, competition, problems)


def _band(value: Any) -> NDArray[np.float32] | None:
    """float32 (pixels,) of a list of numbers, or of lists of them."""
    try:
        return np.asarray(value, np.float32).reshape(-1) if isinstance(value, list) and value else None
    except (TypeError, ValueError):
        return None


def _text(value: Any) -> str:
    """A field as a table would have it: 1.0 as 1."""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "" if value is None else str(value)


def iterate_records(path: Path, problems: ErrorCollector) -> Iterator[dict[str, Any]]:
    """The records of a JSON list, or of a file with a record a line, one after another.

    One at a time, because lists of numbers take many times the room that arrays take. What is not a record is
    noted, and ends it.
    """
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        problems.add(path, "is not UTF-8", "save the file as UTF-8")
        return
    decoder, place = json.JSONDecoder(), _skip(text, 0)
    in_list = text[place : place + 1] == "["
    place = _skip(text, place + in_list)
    while place < len(text) and text[place] != "]":
        try:
            record, place = decoder.raw_decode(text, place)
        except ValueError as error:
            problems.add(path, f"is not JSON, or is truncated ({error})", "download it again")
            return
        if not isinstance(record, dict):
            problems.add(path, "holds something else than records of fields", "fix files")
            return
        yield record
        place = _skip(text, place)
    if in_list and text[place : place + 1] != "]":
        problems.add(path, "is truncated", "download it again")


def _skip(text: str, place: int) -> int:
    match = _BETWEEN.match(text, place)
    assert match, "it matches nothing too"
    return match.end()


def detect(candidate: Candidate) -> DetectedLayout | None:
    """JSON files named for train and test whose records hold long lists of numbers."""
    paths = sorted(candidate.folder.glob("*.json"))
    test = next((path for path in paths if "test" in path.name.lower()), None)
    train = next((path for path in paths if "train" in path.name.lower()), None)
    if not (train and test):
        return None
    problems = ErrorCollector()
    records = list(iterate_records(train, problems))
    bands = [name for name, value in (records[0] if records else {}).items() if _band(value) is not None]
    if not bands or len(records[0][bands[0]]) < _FEWEST:
        return None
    problems.raise_any()
    count = len(records[0][bands[0]])
    side = math.isqrt(count)
    if candidate.image is None and side * side != count:
        fix = f"pass `image` HxW, or write pipelines/{candidate.name}.yaml by hand"
        raise UserError.at(train, f"{count} numbers of {bands[0]} are not a square", fix)
    fields = {
        name: [_text(record.get(name)) for record in records] for name in records[0] if name not in bands
    }
    table = table_of(train, fields)
    sample_id = candidate.sample_table.header[0] if candidate.sample_table else None
    id_name = sample_id if sample_id in fields else next(iter(fields))
    labels = detect_labels(table, id_name, candidate)
    arrays = [band for record in records for name in bands if (band := _band(record.get(name))) is not None]
    image, notes = _value_range(arrays, bands)
    folds, _, fold_notes = detect_groups(table, [id_name, *labels.columns], [])
    in_rows = labels.files.get("label_cells") == "rows"
    files = {"format": "json", "train": train.name, "test": test.name, "id": id_name, "bands": bands}
    return DetectedLayout(
        files | labels.files, *(candidate.image or (side, side)), len(bands), (),
        competition=labels.competition, image=image, folds=folds, notes=[*notes, *labels.notes, *fold_notes],
        ids=[_find_test_ids(test, id_name), *([] if in_rows else [UniqueIds.of_table(table, id_name)])],
    )  # fmt: skip


def _find_test_ids(path: Path, id_name: str) -> UniqueIds:
    """Ids of the test records, numbered as rows of a table; what else is wrong is told when they are read."""
    records = iterate_records(path, ErrorCollector())
    ids = {row: _text(record[id_name]) for row, record in enumerate(records, 2) if id_name in record}
    return UniqueIds(path.name, list(ids.values()), list(ids))


def _value_range(arrays: list[NDArray[np.float32]], bands: list[str]) -> tuple[dict[str, Any], list[str]]:
    """`image.value_range` where bands are not whole numbers 0..255, and why."""
    low, high = min(float(band.min()) for band in arrays), max(float(band.max()) for band in arrays)
    held = f"images: {' and '.join(bands)} of each record"
    if low >= 0 and 1 < high <= 255 and all(bool((band == band.round()).all()) for band in arrays):
        return {}, [held]
    first, last = likely_range(low, high)
    note = f"{held}; they hold {low:g}..{high:g}: {first:g}..{last:g} become black..white"
    return {"value_range": [first, last]}, [note]


READERS.add("json", Reader(JsonBands, sources, read, detect, open_test), rank=6)
