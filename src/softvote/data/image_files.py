"""Many image files, found by the names that a table or a folder gives them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from softvote.data.decoding import Decoder
from softvote.data.file_images import FileImages, ImageRow
from softvote.data.image_index import HDF5_SUFFIXES, PACKED_SUFFIXES, ImageStore, image_files, open_store
from softvote.data.image_values import SUFFIXES, EncodedImage
from softvote.errors import ErrorCollector
from softvote.words import counted

if TYPE_CHECKING:
    from softvote.config.image import Image


class ImageLoader:
    """Finds images by name, and keeps in mind which and how, for what is to be said at the end.

    Args:
        image: what the competition asks for.
        suffix: what names lack.
        channel_suffixes: of files that hold one channel each of an image; empty where a file is an image.
    """

    def __init__(self, image: Image, suffix: str, channel_suffixes: Sequence[str] = ()) -> None:
        self._image, self._suffix, self._channel_suffixes = image, suffix, channel_suffixes
        self._found: list[FileImages] = []
        self._used: set[str] = set()

    def find(self, ids: Sequence[str], places: Sequence[str], store: ImageStore, shown: str) -> FileImages:
        """The images of these names; what is wrong with a name is told when its image is asked for.

        Args:
            places: that name them.
            shown: where they are looked for, for messages.
        """
        suffixes = self._channel_suffixes or [self._suffix]
        rows = []
        for name, place in zip(ids, places, strict=True):
            files, problems = list[EncodedImage](), ErrorCollector()
            for suffix in suffixes:
                files += self._find(name, suffix, place, store, shown, problems)
            rows.append(ImageRow(place, tuple(files), tuple(problems.problems)))
        return self._keep(rows)

    def take_files(self, images: Sequence[EncodedImage]) -> FileImages:
        """The images of these files; what is wrong with one is told under its name."""
        self._used |= {encoded.name for encoded in images}
        return self._keep([ImageRow("", (encoded,)) for encoded in images])

    def _keep(self, rows: Sequence[ImageRow]) -> FileImages:
        self._found.append(FileImages(self._image, rows, bool(self._channel_suffixes)))
        return self._found[-1]

    def _find(
        self, name: str, suffix: str, place: str, store: ImageStore, shown: str, problems: ErrorCollector
    ) -> list[EncodedImage]:
        found = store.find(name, suffix)
        self._used |= {each.name for each in found}
        if len(found) == 1:
            return found
        wanted = name + (suffix if self._channel_suffixes else "")
        if found:
            names = f"{found[0].name} or {found[1].name}"
            problems.add(place, f"{wanted} may be {names}", "write more of the name, or fix files.suffix")
            return []
        tried = "" if self._channel_suffixes else f" (nor with {suffix or ', '.join(SUFFIXES)})"
        problems.add(place, f"no image {shown}/{wanted}{tried}", "add it or fix files.suffix")
        return []

    def report_depth(self, where: object, problems: ErrorCollector) -> None:
        """Note images that all would be dark; they were gone through."""
        self._done.report_depth(where, problems)

    def notes(self) -> list[str]:
        """What is to be said of what was done to images; they were gone through."""
        return self._done.notes()

    @property
    def _done(self) -> Decoder:
        total = Decoder(self._found[-1].done.image)
        for each in self._found:
            total.add(each.done)
        return total

    def describe_unused(self, store: ImageStore, shown: str, sample: str) -> list[str]:
        """What is to be said of images that nothing names."""
        names = store.names()
        left = [name for name in names if name not in self._used]
        if not left:
            return []
        verb = "is" if len(left) == 1 else "are"
        all_of = f"{counted(len(names), 'image')} of {shown}"
        return [
            f"{len(left):,} of the {all_of} {verb} in no row of {sample}, as "
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
        elif path.suffix.lower() in PACKED_SUFFIXES or path.is_file():
            found.add(path)
    return found
