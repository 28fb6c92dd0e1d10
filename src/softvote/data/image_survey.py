"""Which folders hold the images that a table names, and which column of it names them."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from softvote.data.csv_table import Table
from softvote.data.image_index import HDF5_SUFFIXES, ImageFolders, ImageStore, open_store, without_suffix
from softvote.data.image_values import DICOM_SUFFIXES, EncodedImage
from softvote.data.label_detection import row_image
from softvote.data.readers.detection import ID_NAMES, Candidate, is_for, is_unnamed

LOOKED_FOR = 20_000
"""So many names of a table are looked for, evenly over all, because tables are often sorted by class."""


LOOKED_AT = 200
"""So many images are looked into."""


_T = TypeVar("_T")


_COLOURS = ("red", "green", "blue")


@dataclass(frozen=True)
class FoundImages:
    """Where the images of a split are.

    Attributes:
        places: folders, or an HDF5 file, by their paths from the competition's folder.
        images: some of them, evenly over all.
        missing: names that were looked for in vain.
        others: further places that hold images of all these names.
    """

    places: list[str]
    images: list[EncodedImage]
    missing: list[str]
    others: list[str]

    @property
    def named(self) -> str | list[str]:
        """As a pipeline file says it."""
        return self.places[0] if len(self.places) == 1 else self.places


@dataclass(frozen=True)
class IdColumn:
    """The column of a table that names image files.

    Attributes:
        name: of the column.
        is_rows: whether ids are an image's, an underline and a tag.
        channel_suffixes: of the files that are the channels of one image; empty where a file is an image.
        others: further columns that name the same files.
    """

    name: str
    is_rows: bool = False
    channel_suffixes: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


class ImageSurvey:
    """All the images below a competition's folder.

    Args:
        candidate: the folder.
    """

    def __init__(self, candidate: Candidate) -> None:
        self._folder = candidate.folder
        self._all = ImageFolders([candidate.folder])
        self._packed: dict[str, ImageStore] = {
            path.relative_to(self._folder).as_posix(): open_store([path])
            for path in sorted(self._folder.rglob("*"))
            if path.suffix.lower() in HDF5_SUFFIXES
        }
        self._stems = sorted({without_suffix(Path(name).name) for name in self._all.names()})

    def files(self) -> list[Path]:
        """Every image file."""
        return [Path(name) for name in self._all.names()]

    def __bool__(self) -> bool:
        return bool(self._all.names() or self._packed)

    def find(self, ids: Sequence[str], split: str, suffix: str = "") -> FoundImages | None:
        """Where images of these names are; None where not half of them are anywhere.

        Args:
            split: `train` or `test`; folders named for it go before others, and those named for the other
                come last.
            suffix: what the names lack.
        """
        names = spread(list(dict.fromkeys(ids)), LOOKED_FOR)
        held: dict[str, dict[str, EncodedImage]] = {}
        for place, store in self._packed.items():
            hits = {name: hit[0] for name in names if len(hit := store.find(name, suffix)) == 1}
            held |= {place: hits} if hits else {}
        for name in names:
            for folder, inside in self._by_folder(self._all.find(name, suffix)).items():
                if len(inside) == 1:
                    held.setdefault(folder, {})[name] = inside[0]
        held = {place: images for place, images in held.items() if not _is_within(place, held)}
        places, found = self._choose(dict(held), names, split)
        if 2 * len(found) < len(names) or not found:
            return None
        images = spread([found[name] for name in names if name in found], LOOKED_AT)
        other = "test" if split == "train" else "train"
        others = [
            place
            for place, images in held.items()
            if place not in places and len(images) == len(found) and not is_for(other, place) and place != "."
        ]
        return FoundImages(places, images, [name for name in names if name not in found], sorted(others))

    def _by_folder(self, images: Iterable[EncodedImage]) -> dict[str, list[EncodedImage]]:
        """Images by each of the folders that they are in, at any depth."""
        by_folder: dict[str, list[EncodedImage]] = {}
        for image in images:
            path = PurePosixPath(Path(image.name).relative_to(self._folder).as_posix())
            for parent in path.parents:
                by_folder.setdefault(parent.as_posix(), []).append(image)
        return by_folder

    def _choose(
        self, held: dict[str, dict[str, EncodedImage]], names: Sequence[str], split: str
    ) -> tuple[list[str], dict[str, EncodedImage]]:
        """The best folder, and further ones as long as they hold images that it lacks."""
        other = "test" if split == "train" else "train"
        places: list[str] = []
        found: dict[str, EncodedImage] = {}

        def rank(place: str) -> tuple[Any, ...]:
            new = sum(name not in found for name in held[place])
            is_dicom = next(iter(held[place].values())).suffix in DICOM_SUFFIXES
            return (
                is_for(other, place) or (place == "." and len(held) > 1),
                -new, not is_for(split, place), is_dicom,
                place in self._packed, len(PurePosixPath(place).parts), place,
            )  # fmt: skip

        while held and len(found) < len(names):
            best = min(held, key=rank)
            new = {name: image for name, image in held.pop(best).items() if name not in found}
            if new and not (places and is_for(other, best)):
                places.append(best)
                found |= new
        return places, found

    def id_column(self, table: Table, sample_id: str | None) -> IdColumn | None:
        """The column that names image files.

        Args:
            sample_id: what the sample submission calls ids, which decides between several.
        """
        index = [name for name in table.header if is_unnamed(name) and sample_id in table.header]
        columns = [name for name in table.header if name not in index]
        for is_rows in (False, True):
            named = [name for name in columns if self._names_files(table, name, is_rows)]
            if named:
                best = min(named, key=lambda name: (*_rank_of_id(name, sample_id), columns.index(name)))
                others = [name for name in named if name != best and table.column(name) != table.column(best)]
                return IdColumn(best, is_rows, others=tuple(others))
        for name in columns:
            if suffixes := self._channel_suffixes(table.column(name)):
                return IdColumn(name, channel_suffixes=tuple(suffixes))
        return None

    def _names_files(self, table: Table, column: str, is_rows: bool) -> bool:
        texts = table.column(column)[: LOOKED_AT if not is_rows else 10 * LOOKED_AT]
        if not is_rows and 2 * len(set(texts)) < len(texts):
            return False  # labels may be called as files are, 1 and 1.png, but stand there again and again
        names = [row_image(text) for text in texts] if is_rows else texts
        some = [name for name in dict.fromkeys(names) if name][:20]
        hits = [name for name in some if self.has(name)]
        return bool(some) and 2 * len(hits) >= len(some)

    def has(self, name: str, suffix: str = "") -> bool:
        """Whether there is an image of that name."""
        stores = (self._all, *self._packed.values())
        return any(store.find(name, suffix) for store in stores)

    def without_end(self, text: str, suffix: str = "") -> str | None:
        """The longest part of a row's id before an underline that is an image's name, or None."""
        parts = text.split("_")
        names = ("_".join(parts[:count]) for count in range(len(parts) - 1, 0, -1))
        return next((name for name in names if self.has(name, suffix)), None)

    def _channel_suffixes(self, ids: Sequence[str]) -> list[str]:
        """What follows an id in the names of the files that are its channels; the same of every id."""
        rests = [self._rests(name) for name in list(dict.fromkeys(ids))[:20] if name]
        if not rests or not 2 <= len(rests[0]) <= 16 or any(rest != rests[0] for rest in rests):
            return []

        def rank(rest: str) -> tuple[int, str]:
            word = rest.strip("_- ").lower()
            return (_COLOURS.index(word) if word in _COLOURS else len(_COLOURS), rest)

        return sorted(rests[0], key=rank)

    def _rests(self, name: str) -> list[str]:
        """Ends of the names of files that begin with a name and an underline or a dash."""
        rests = []
        for first in (f"{name}_", f"{name}-"):
            start = bisect.bisect_left(self._stems, first)
            for stem in self._stems[start : start + 17]:
                if not stem.startswith(first):
                    break
                rests.append(stem.removeprefix(name))
        return rests


def sample_images(candidate: Candidate, survey: ImageSurvey, suffix: str = "") -> list[str]:
    """Ids of the sample submission as images have them: without the tag, where a row is one of several."""
    ids = spread(candidate.sample_ids, LOOKED_FOR)
    if not any(survey.has(name, suffix) for name in ids[:20]):
        stems = [survey.without_end(text, suffix) for text in ids]
        if all(stems[:20]):
            return [stem or "" for stem in stems]
    return ids


def spread(things: Sequence[_T], count: int) -> list[_T]:
    """At most so many of them, evenly over all."""
    if len(things) <= count:
        return list(things)
    return [things[len(things) * place // count] for place in range(count)]


def _is_within(place: str, held: Mapping[str, Mapping[str, EncodedImage]]) -> bool:
    """Whether a folder within this one holds all the images that it holds."""
    prefix = "" if place == "." else f"{place}/"
    return any(
        other != place and other.startswith(prefix) and len(images) >= len(held[place])
        for other, images in held.items()
    )


def _rank_of_id(name: str, sample_id: str | None) -> tuple[bool, bool, bool]:
    """How unlikely a column is that of ids; a saved row index is the least likely."""
    return is_unnamed(name), name != sample_id, name.lower() not in ID_NAMES
