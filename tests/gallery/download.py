"""What Kaggle hands out for a competition, in small: files in a folder, archives among them, then one zip."""

from __future__ import annotations

import csv
import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Rows = list[list[str]]
"""A CSV file: its header, then its records."""

Pixels = NDArray[np.uint8]

TRAIN, TEST = 48, 20
"""Images of a miniature, where its maker does not say otherwise."""


class Download:
    """The files of one competition before they are zipped.

    Args:
        folder: an empty one.
        seed: of all that is drawn.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.rng = np.random.default_rng(seed)

    def write(self, name: str, content: bytes) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def csv(self, name: str, header: Sequence[str], records: Sequence[Sequence[object]]) -> Rows:
        """Write a table; its rows as text."""
        text = io.StringIO()
        rows = [list(header), *([str(cell) for cell in record] for record in records)]
        csv.writer(text, lineterminator="\n").writerows(rows)
        self.write(name, text.getvalue().encode())
        return rows

    def json(self, name: str, content: Any) -> None:
        self.write(name, json.dumps(content).encode())

    def image(self, name: str, pixels: Pixels) -> None:
        """Write an image, uint8 (H, W) or (H, W, 3), in the format that the name's suffix says."""
        self.write(name, encode(pixels, Path(name).suffix))

    def hex_ids(self, count: int, digits: int) -> list[str]:
        """Different random ids as Kaggle likes them."""
        drawn = [self.rng.bytes((digits + 1) // 2).hex()[:digits] for _ in range(count)]
        assert len(set(drawn)) == count, "two ids are the same: draw with more digits"
        return drawn

    def uuids(self, count: int) -> list[str]:
        texts = self.hex_ids(count, 32)
        return ["-".join([t[:8], t[8:12], t[12:16], t[16:20], t[20:]]) for t in texts]

    # ---------------------------------------------------------------- archives within the archive

    def pack_zip(self, archive: str, *names: str, inside: str = "") -> None:
        """Move files or folders into a zip beside them.

        Args:
            inside: the folder of the archive that they go to.
        """
        with zipfile.ZipFile(self.folder / archive, "w", zipfile.ZIP_DEFLATED) as file:
            for name, path in self._taken(names):
                file.write(path, f"{inside}{name}")
        self._remove(names)

    def pack_7z(self, archive: str, *names: str, inside: str = "", password: str | None = None) -> None:
        """Move files or folders into a 7z archive beside them, as `pack_zip` does."""
        import py7zr

        # The default packs small miniatures with 64 MB of memory and a second of time.
        filters = [{"id": py7zr.FILTER_COPY}] + ([{"id": py7zr.FILTER_CRYPTO_AES256_SHA256}] * bool(password))
        with py7zr.SevenZipFile(self.folder / archive, "w", filters=filters, password=password) as file:
            for name, path in self._taken(names):
                file.write(path, f"{inside}{name}")
        self._remove(names)

    def pack_tar_7z(self, archive: str, name: str) -> None:
        """Move a folder into a tar, and that into a 7z archive: `train-jpg.tar.7z` of `train-jpg`."""
        with tarfile.open(self.folder / archive.removesuffix(".7z"), "w") as file:
            file.add(self.folder / name, name)
        self._remove([name])
        self.pack_7z(archive, archive.removesuffix(".7z"))

    def split(self, archive: str, parts: int) -> None:
        """Cut a file into `<archive>.001`, `.002` and so on."""
        path = self.folder / archive
        content = path.read_bytes()
        size = -(-len(content) // parts)
        for part in range(parts):
            self.write(f"{archive}.{part + 1:03}", content[part * size : (part + 1) * size])
        path.unlink()

    def _taken(self, names: Sequence[str]) -> list[tuple[str, Path]]:
        found = []
        for name in names:
            path = self.folder / name
            inside = sorted(path.rglob("*")) if path.is_dir() else [path]
            found += [(file.relative_to(self.folder).as_posix(), file) for file in inside if file.is_file()]
        return found

    def _remove(self, names: Sequence[str]) -> None:
        for _, path in self._taken(names):
            path.unlink()
        for name in names:
            for path in sorted((self.folder / name).rglob("*"), reverse=True):
                path.rmdir()
            if (self.folder / name).is_dir():
                (self.folder / name).rmdir()


def encode(pixels: Pixels, suffix: str) -> bytes:
    """An image in a file format; JPEG with so little loss that what it shows stays."""
    buffer = io.BytesIO()
    format = {".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF"}.get(suffix, suffix.removeprefix(".").upper())
    Image.fromarray(pixels).save(buffer, format, **({"quality": 95} if format == "JPEG" else {}))
    return buffer.getvalue()


@dataclass(frozen=True)
class Miniature:
    """A competition of a few dozen tiny images.

    Attributes:
        zip: what Kaggle hands out.
        solution: the right submission, header first, in the order of the sample: a class or 0 and 1 where
            the competition asks for probabilities.
    """

    zip: Path
    solution: Rows


Maker = Callable[[Download], Rows]

MAKERS: dict[str, Maker] = {}
"""Each writes the files of the competition with that slug, and gives its solution."""


def miniature_of(slug: str) -> Callable[[Maker], Maker]:
    """Register the maker of a competition's miniature."""

    def register(maker: Maker) -> Maker:
        MAKERS[slug] = maker
        return maker

    return register


def make(slug: str, folder: Path) -> Miniature:
    """Write `<slug>.zip` into a folder."""
    files = folder / "files"
    files.mkdir(parents=True)
    solution = MAKERS[slug](Download(files, seed=sorted(MAKERS).index(slug)))
    path = folder / f"{slug}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(files.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(files).as_posix())
    return Miniature(path, solution)
