"""Where image files go when a competition is read: decoded once into one file, or left where they are.

What is decoded is written in the order of the rows, never in memory as a whole, and its digest is taken on
the way. A reading that is killed goes on after the last rows that it noted as written.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from softvote.data.pixels import Pixels, bytes_of, iterate_pixels, npy_header, open_pixels
from softvote.errors import ErrorCollector, UserError
from softvote.progress import note
from softvote.storage.files import write_json
from softvote.storage.records import JsonRecord

if TYPE_CHECKING:
    from softvote.data.file_images import FileImages


SPLITS = ("train_pixels", "test_pixels")


_SPARE = 1 << 30  # bytes that a cache leaves free on the disk


_SECONDS_PER_NOTE = 10.0  # of work that a kill costs at most


class PixelDigest:
    """The sha256 of pixels and of what belongs to them, one after the other."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._sha256 = hashlib.sha256(repr(shape).encode())

    @classmethod
    def of(cls, pixels: Pixels) -> PixelDigest:
        """Go through all images."""
        digest = cls(pixels.shape)
        for part in iterate_pixels(pixels):
            digest.add(part)
        return digest

    def add(self, part: NDArray[np.uint8]) -> None:
        """The next images, uint8 (n, C, H, W)."""
        self._sha256.update(np.ascontiguousarray(part).data)

    def with_rest(self, rest: NDArray[np.int64] | list[str], addends: NDArray[np.int64] | None) -> str:
        """The digest of all images and of what comes with them.

        Args:
            rest: their labels, int64 (N,), (N, K) or (N, T), or ids.
            addends: int64 (N,); None where there are none.
        """
        digest = self._sha256.copy()
        digest.update("\n".join(rest).encode() if isinstance(rest, list) else rest.data)
        if addends is not None:
            digest.update(addends.data)
        return digest.hexdigest()


class WrittenRows(JsonRecord):
    """How far the decoding of one split has come."""

    rows: int = 0
    turned: int = 0
    laid: int = 0
    deep: int = 0
    largest: float = 0


def keep_in_memory(train: FileImages, test: FileImages, problems: ErrorCollector) -> tuple[Pixels, Pixels]:
    """Decode all images into memory."""

    def decode(images: FileImages, name: str) -> Pixels:
        pixels, start = np.zeros(images.shape, np.uint8), 0
        for part in images.go_through(problems, name):
            pixels[start : start + len(part)] = part
            start += len(part)
        return pixels

    return decode(train, "train"), decode(test, "test")


class ImageCache:
    """Keeps the images of a competition in a folder, which is renamed when all that belongs to them is there.

    Args:
        folder: that may hold what a reading of the same files left, which was killed.
        lazy: whether images are to stay in their files.
        known: whether files that stay where they are were gone through before, so that it is not done again.

    Attributes:
        stays_in_files: whether images were left where they are.
        digests: of the pixels, by `SPLITS`, where they were gone through.
    """

    def __init__(self, folder: Path, lazy: bool, known: bool) -> None:
        self.folder, self._lazy, self._known = folder, lazy, known
        self.stays_in_files = False
        self.digests: dict[str, PixelDigest] = {}

    def keep(self, train: FileImages, test: FileImages, problems: ErrorCollector) -> tuple[Pixels, Pixels]:
        """Decode and write, or check, all images; what is wrong with any of them is noted."""
        self.stays_in_files = self._lazy or not self._has_room(bytes_of(train) + bytes_of(test))
        parts = list(zip(SPLITS, (train, test), strict=True))
        if self.stays_in_files:
            for name, images in parts if not self._known else ():
                self._check(name, images, problems)
            return train, test
        before = len(problems)
        first, second = (self._write(name, images, problems) for name, images in parts)
        if len(problems) > before:
            shutil.rmtree(self.folder, ignore_errors=True)
            return train, test
        return first, second

    def digest(self, name: str, pixels: Pixels) -> PixelDigest:
        """The digest of a split's pixels, taken now where it was not on the way."""
        return self.digests.get(name) or PixelDigest.of(pixels)

    def _has_room(self, size: int) -> bool:
        place = next(path for path in (self.folder, *self.folder.parents) if path.exists())
        written = sum(file.stat().st_blocks * 512 for file in self.folder.glob("*.npy"))
        free = shutil.disk_usage(place).free + written
        if size + _SPARE <= free:
            return True
        note(
            f"{self.folder.parent}: {size / 2**30:,.1f} GiB of decoded images find no room "
            f"({free / 2**30:,.1f} GiB are free); images are decoded again each time they are used"
        )
        return False

    def _check(self, name: str, images: FileImages, problems: ErrorCollector) -> None:
        digest = PixelDigest(images.shape)
        for part in images.go_through(problems, name.removesuffix("_pixels")):
            digest.add(part)
        self.digests[name] = digest

    def _write(self, name: str, images: FileImages, problems: ErrorCollector) -> Pixels:
        path, journal = self.folder / f"{name}.npy", self.folder / f"{name}.json"
        digest, before = PixelDigest(images.shape), len(problems)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with path.open("r+b" if path.exists() else "w+b") as file:
                start = _go_on(file, WrittenRows.read(journal) or WrittenRows(), images, digest)
                row, told = start, time.monotonic()
                for part in images.go_through(problems, name.removesuffix("_pixels"), start):
                    if len(problems) > before:  # what is wrong with others is still told
                        continue
                    file.write(part.data)
                    digest.add(part)
                    row += len(part)
                    if time.monotonic() - told >= _SECONDS_PER_NOTE:
                        _note_written(file, journal, row, images)
                        told = time.monotonic()
                _note_written(file, journal, row, images)
            self.digests[name] = digest
            return images if len(problems) > before else open_pixels(path)
        except OSError as error:
            raise UserError.at(
                path, f"cannot be written ({error.strerror})", "make it writable or pass `root`"
            ) from None


def _go_on(file: BinaryIO, written: WrittenRows, images: FileImages, digest: PixelDigest) -> int:
    """Leave the file ready for the next row: the first, or the one after those that were written."""
    header, size = npy_header(images.shape), int(np.prod(images.shape[1:]))
    is_there = file.read(len(header)) == header
    rows = written.rows if is_there and _length(file) >= len(header) + written.rows * size else 0
    file.seek(0)
    file.write(header)
    step = max(1, (1 << 24) // size)
    for start in range(0, rows, step):
        part = file.read(min(step, rows - start) * size)
        digest.add(np.frombuffer(part, np.uint8))
    file.truncate()
    if rows:
        for count in ("turned", "laid", "deep", "largest"):
            setattr(images.done, count, getattr(written, count))
    return rows


def _length(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


def _note_written(file: BinaryIO, journal: Path, rows: int, images: FileImages) -> None:
    file.flush()
    os.fsync(file.fileno())  # before the note says so
    done = images.done
    counts = {"turned": done.turned, "laid": done.laid, "deep": done.deep, "largest": done.largest}
    write_json(journal, {"rows": rows, **counts})
