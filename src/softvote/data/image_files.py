"""Many image files as one array, by the names that a table or a folder gives them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from softvote.data.decoding import Decoder
from softvote.data.image_index import HDF5_SUFFIXES, ImageStore, image_files, open_store
from softvote.data.image_values import SUFFIXES, EncodedImage
from softvote.data.readers.base import MOST
from softvote.errors import ErrorCollector

if TYPE_CHECKING:
    from softvote.config.competition import Image


class ImageLoader:
    """Loads images by name, and keeps in mind which and how, for what is to be said at the end.

    Args:
        image: what the competition asks for.
        suffix: what names lack.
        channel_suffixes: of files that hold one channel each of an image; empty where a file is an image.
        problems: where what is wrong is noted.
    """

    def __init__(
        self, image: Image, suffix: str, channel_suffixes: Sequence[str], problems: ErrorCollector
    ) -> None:
        self._image, self._suffix, self._channel_suffixes = image, suffix, channel_suffixes
        self._problems = problems
        self._decoder = Decoder(image)
        self._of_channel = Decoder(image.model_copy(update={"channels": 1, "value_range": None}))
        self._used: set[str] = set()

    def load(
        self, ids: Sequence[str], places: Sequence[str], store: ImageStore, shown: str
    ) -> NDArray[np.uint8]:
        """uint8 (N, C, H, W); images that cannot be had are noted at the places that name them.

        Args:
            shown: where they are looked for, for messages.
        """
        image = self._image
        pixels = np.zeros((len(ids), image.channels, image.height, image.width), np.uint8)
        before = len(self._problems)
        for position, (name, place) in enumerate(zip(ids, places, strict=True)):
            if len(self._problems) - before > MOST:
                break
            if self._channel_suffixes:
                loaded = self._load_channels(name, place, store, shown)
            else:
                loaded = self._load_file(self._decoder, name, self._suffix, place, store, shown)
            pixels[position] = 0 if loaded is None else loaded
        return pixels

    def load_files(self, images: Sequence[EncodedImage]) -> NDArray[np.uint8]:
        """uint8 (N, C, H, W) of image files; what is wrong with one is noted under its name."""
        image, before = self._image, len(self._problems)
        pixels = np.zeros((len(images), image.channels, image.height, image.width), np.uint8)
        for position, encoded in enumerate(images):
            if len(self._problems) - before > MOST:
                break
            self._used.add(encoded.name)
            loaded = self._decoder.load(encoded, "", self._problems)
            pixels[position] = 0 if loaded is None else loaded
        return pixels

    def _load_channels(
        self, name: str, place: str, store: ImageStore, shown: str
    ) -> NDArray[np.uint8] | None:
        """One image, uint8 (C, H, W), of a file for each channel."""
        planes = [
            self._load_file(self._decoder_of(number), name, suffix, place, store, shown)
            for number, suffix in enumerate(self._channel_suffixes)
        ]
        present = [plane for plane in planes if plane is not None]
        return np.concatenate(present) if len(present) == len(planes) else None

    def _load_file(
        self, decoder: Decoder, name: str, suffix: str, place: str, store: ImageStore, shown: str
    ) -> NDArray[np.uint8] | None:
        found = self._find(name, suffix, place, store, shown)
        return None if found is None else decoder.load(found, place, self._problems)

    def _decoder_of(self, channel: int) -> Decoder:
        ranges = self._image.value_ranges
        if ranges:
            pair = ranges[channel if len(ranges) > 1 else 0]
            self._of_channel.image = self._of_channel.image.model_copy(update={"value_range": pair})
        return self._of_channel

    def _find(self, name: str, suffix: str, place: str, store: ImageStore, shown: str) -> EncodedImage | None:
        found = store.find(name, suffix)
        self._used |= {each.name for each in found}
        if len(found) == 1:
            return found[0]
        wanted = name + (suffix if self._channel_suffixes else "")
        if found:
            names = f"{found[0].name} or {found[1].name}"
            self._problems.add(
                place, f"{wanted} may be {names}", "write more of the name, or fix files.suffix"
            )
            return None
        tried = "" if self._channel_suffixes else f" (nor with {suffix or ', '.join(SUFFIXES)})"
        self._problems.add(place, f"no image {shown}/{wanted}{tried}", "add it or fix files.suffix")
        return None

    def report_depth(self, where: object) -> None:
        """Note images that all would be dark."""
        for decoder in (self._decoder, self._of_channel):
            decoder.report_depth(where, self._problems)

    def notes(self) -> list[str]:
        """What is to be said of what was done to images."""
        return [*self._decoder.notes(), *self._of_channel.notes()]

    def describe_unused(self, store: ImageStore, shown: str, sample: str) -> list[str]:
        """What is to be said of images that nothing names."""
        names = store.names()
        left = [name for name in names if name not in self._used]
        if not left:
            return []
        return [
            f"{len(left):,} of the {len(names):,} images of {shown} are in no row of {sample}, as "
            f"{Path(left[0]).name}: what {sample} lists counts"
        ]


class Stores:
    """The images of a competition's folder, each folder of them listed once.

    Args:
        folder: the competition's.
        suffixes: ends of further names that are images.
    """

    def __init__(self, folder: Path, suffixes: Sequence[str] = ()) -> None:
        self._folder, self._suffixes = folder, suffixes
        self._stores: dict[tuple[str, ...], ImageStore] = {}

    def open(self, named: str | list[str]) -> tuple[ImageStore, str]:
        """The images of one or several folders, and where that is, for messages."""
        names = tuple(folders_of(named))
        paths = [self._folder / name for name in names]
        if names not in self._stores:
            self._stores[names] = open_store(paths, self._suffixes)
        return self._stores[names], ", ".join(map(str, paths))


def folders_of(named: str | list[str]) -> list[str]:
    """One or several folders as a list."""
    return [named] if isinstance(named, str) else named


def packages_to_open(names: Sequence[str]) -> dict[str, str]:
    """What reading these folders or files imports, as `import name: name of the package`."""
    packed = any(name.lower().endswith(HDF5_SUFFIXES) for name in names)
    return {"PIL": "pillow"} | ({"h5py": "h5py"} if packed else {})


def image_sources(paths: Iterable[Path], suffixes: Sequence[str] = ()) -> set[Path]:
    """Every file whose content images may depend on: image files below folders, and files themselves.

    Args:
        suffixes: ends of further names that are images.
    """
    found = set()
    for path in paths:
        if path.is_dir():
            found |= set(image_files(path, suffixes))
        elif path.suffix.lower() in HDF5_SUFFIXES or path.is_file():
            found.add(path)
    return found
