"""Which image file a name in a table means, by all the ways in which tables name files."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Protocol

from softvote.data.image_values import SUFFIXES, EncodedImage
from softvote.errors import UserError

HDF5_SUFFIXES = (".hdf5", ".h5")

PACKED_SUFFIXES = (*HDF5_SUFFIXES, ".shards")
"""Files that stand for many images."""


def is_image(name: str) -> bool:
    """Whether a file's name ends as that of an image."""
    return name.lower().endswith(SUFFIXES)


def without_suffix(name: str) -> str:
    """A file's name without the end that says that it is an image."""
    lower = name.lower()
    suffix = next((suffix for suffix in SUFFIXES if lower.endswith(suffix)), "")
    return name[: len(name) - len(suffix)]


def image_files(folder: Path, suffixes: Sequence[str] = ()) -> Iterator[Path]:
    """Image files in a folder and the folders in it, also those that end in suffixes of their own.

    Hidden files and folders, as file managers and notebooks leave them, are left out.
    """
    own = tuple(suffix.lower() for suffix in suffixes if suffix)
    seen = set[str]()
    for top, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(top)
        if real in seen:  # a link to a folder above has no end
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith(".") and name != "__MACOSX"]
        for name in names:
            if not name.startswith(".") and (is_image(name) or (own and name.lower().endswith(own))):
                yield Path(top, name)


class ImageStore(Protocol):
    """Images by the names that tables give them."""

    def find(self, name: str, suffix: str = "") -> list[EncodedImage]:
        """What a name can mean: nothing, one image, or several among which nothing decides."""

    def names(self) -> list[str]:
        """`EncodedImage.name` of each image."""


class ImageFolders:
    """Image files of one or several folders and the folders in them.

    A name is looked for as it stands, with `suffix`, and with any usual suffix; then in folders within, and
    with more or fewer folders before it (`train/1.png`, `cat/1.png`, `1`).

    Args:
        folders: where the files are.
        suffixes: of files that are images although their names end otherwise.
    """

    def __init__(self, folders: Sequence[Path], suffixes: Sequence[str] = ()) -> None:
        self._names: list[str] = []
        self._exact: dict[str, list[Path]] = defaultdict(list)
        self._by_name: dict[str, list[tuple[Path, Sequence[str]]]] = defaultdict(list)
        for folder in folders:
            for path in sorted(image_files(folder, suffixes)):
                self._names.append(str(path))
                place = path.relative_to(folder).as_posix()
                for key in {place, without_suffix(place)}:
                    self._exact[key].append(path)
                parts = (folder.name, *Path(place).parent.parts)
                for key in {path.name, without_suffix(path.name)}:
                    self._by_name[key].append((path, parts))

    def names(self) -> list[str]:
        """Every file, as messages name it."""
        return self._names

    def find(self, name: str, suffix: str = "") -> list[EncodedImage]:
        """The files that a name can mean."""
        return [EncodedImage.of(path) for path in self._find(name.strip(), suffix)]

    def _find(self, name: str, suffix: str) -> list[Path]:
        name = name.replace("\\", "/").removeprefix("./")
        parts = PurePosixPath(name).parts
        if not parts:  # nothing, or a dot
            return []
        for wanted in filter(None, (name + suffix if suffix else "", name)):
            if found := self._exact.get(wanted):
                return found
        for wanted in filter(None, (parts[-1] + suffix if suffix else "", parts[-1])):
            near = [path for path, folders in self._by_name.get(wanted, []) if _agree(folders, parts[:-1])]
            if near:
                return near
        return []


def _agree(folders: Sequence[str], named: Sequence[str]) -> bool:
    """Whether the folders before a name are the last ones of where the file lies, as far as both go."""
    length = min(len(folders), len(named))
    return length == 0 or tuple(folders[-length:]) == tuple(named[-length:])


def open_store(paths: Sequence[Path], suffixes: Sequence[str] = ()) -> ImageStore:
    """The images of folders, of an HDF5 file, or of an index of shards.

    Raises:
        UserError: such a file among folders, or one that cannot be read.
    """
    packed = [path for path in paths if path.suffix.lower() in PACKED_SUFFIXES]
    if not packed:
        return ImageFolders(paths, suffixes)
    if len(paths) > 1:
        kind = "HDF5" if packed[0].suffix.lower() in HDF5_SUFFIXES else "an index of shards"
        raise UserError.at(packed[0], f"{kind} stands for itself", "name this one file, or folders")
    if packed[0].suffix.lower() not in HDF5_SUFFIXES:
        from softvote.data.shards import ShardedImages

        return ShardedImages(packed[0])
    from softvote.data.hdf5_store import Hdf5Images

    return Hdf5Images(packed[0])
