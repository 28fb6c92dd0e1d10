"""Images that a person names for prediction: image files, folders of them, `.npy` arrays and pixel CSVs.

A competition's own files go through `READERS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from softvote.config.image import Image
from softvote.data.csv_table import Table, open_table
from softvote.data.decoding import Decoder, resize_pixels, to_pixels
from softvote.data.image_values import SUFFIXES, EncodedImage, ImageError
from softvote.data.pixel_cells import pixel_values
from softvote.data.readers.base import addends_of
from softvote.data.readers.npy import load_array
from softvote.data.readers.pixel_csv import PixelCsv
from softvote.errors import ErrorCollector
from softvote.words import counted

ADDEND = str(PixelCsv.model_fields["addend"].default)


NO_PIXELS = ("label", "id", "imageid", "image_id", ADDEND)
"""Names of CSV columns, in small letters, that are not pixels."""


@dataclass(frozen=True)
class InputImages:
    """The images of one file.

    Attributes:
        path: as it was named.
        pixels: uint8 (N, C, H, W).
        addends: int64 (N,), where the model takes them.
    """

    path: Path
    pixels: NDArray[np.uint8]
    addends: NDArray[np.int64] | None = None


def read_inputs(
    paths: Sequence[Path], image: Image, needs_addend: bool, addend: str | None
) -> list[InputImages]:
    """Read every file.

    Args:
        paths: of files, or of folders whose image files are read.
        image: what the model takes; its `resize` brings other sizes to this one.
        needs_addend: whether the model takes an addend with each image.
        addend: one for every image that has none in its file.

    Raises:
        UserError: every problem of all files, one line each.
    """
    problems = ErrorCollector()
    for_all = None
    if addend is not None and needs_addend:
        for_all = int(addends_of([addend], lambda position: "`addend`", problems)[0])
    elif addend is not None:
        problems.add("`addend`", "the model takes none", "leave it out")
    files = [file for path in paths for file in _list_files(path, problems)]
    found = [_read(file, image, needs_addend, problems) for file in files]
    if needs_addend:
        found = [given and _with_addends(given, for_all, problems) for given in found]
    problems.raise_any()
    return [given for given in found if given]


def _list_files(path: Path, problems: ErrorCollector) -> list[Path]:
    """A file itself; of a folder the images in it, by name, and nothing of the folders in it."""
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())
    if not files:
        problems.add(path, f"holds no images ({', '.join(SUFFIXES)})", "name another folder")
    return files


def _read(path: Path, image: Image, needs_addend: bool, problems: ErrorCollector) -> InputImages | None:
    suffix = path.suffix.lower()
    if not path.is_file():
        problems.add(path, "no such file", "fix the path")
    elif suffix == ".npy":
        return _array(path, image, problems)
    elif suffix == ".csv":
        return _pixel_csv(path, image, needs_addend, problems)
    elif suffix in SUFFIXES:
        return _image_file(path, image, problems)
    else:
        problems.add(path, f"is neither .npy, .csv nor an image ({', '.join(SUFFIXES)})", "convert it")
    return None


def _with_addends(given: InputImages, for_all: int | None, problems: ErrorCollector) -> InputImages:
    if given.addends is not None:  # a file's own go before the one for all
        return given
    if for_all is None:
        problems.add(given.path, "the model takes an addend with each image", "pass `addend` 0..9")
    return replace(given, addends=np.full(len(given.pixels), for_all or 0, np.int64))


def _image_file(path: Path, image: Image, problems: ErrorCollector) -> InputImages | None:
    decoder = Decoder(image)
    try:
        bands = decoder.decode(EncodedImage.of(path))
    except ImageError as error:
        problems.add(path, error.what, error.hint)
        return None
    decoder.report_depth(path, problems)
    if not _fits(bands[0].size[::-1], path, image, problems):
        return None
    return InputImages(path, to_pixels(bands, image.height, image.width)[None].copy())


def _fits(size: tuple[int, ...], path: Path, image: Image, problems: ErrorCollector) -> bool:
    """Whether images of this height and width can be had; noted if not."""
    expected = (image.height, image.width)
    if size == expected or image.resize:
        return True
    found, wanted = (" x ".join(map(str, sides)) for sides in (size, expected))
    problems.add(path, f"is {found}, the model takes {wanted}", "pass `resize` to bring it there")
    return False


def _array(path: Path, image: Image, problems: ErrorCollector) -> InputImages | None:
    array = load_array(path, problems)
    if array is None:
        return None
    if array.dtype != np.uint8 or array.ndim not in (3, 4) or not array.size:
        what = f"holds {array.dtype} {array.shape}; images must be uint8 (N, H, W) or (N, H, W, C)"
        problems.add(path, f"{what}: convert them")
        return None
    if array.ndim == 3:
        array = array[..., None]
    if array.shape[3] != image.channels:
        what = f"has images of {counted(array.shape[3], 'channel')}, the model takes {image.channels}"
        problems.add(path, what, f"convert them to (N, H, W, {image.channels})")
        return None
    if not _fits(array.shape[1:3], path, image, problems):
        return None
    pixels = np.ascontiguousarray(array.transpose(0, 3, 1, 2))
    return InputImages(path, resize_pixels(pixels, image.height, image.width))


def _pixel_csv(path: Path, image: Image, needs_addend: bool, problems: ErrorCollector) -> InputImages | None:
    table = open_table(path, problems)
    if table is None:
        return None
    columns = [index for index, name in enumerate(table.header) if name.lower() not in NO_PIXELS]
    expected = image.height * image.width * image.channels
    if len(columns) != expected:
        size = f"{image.height} x {image.width} x {image.channels} = {expected}"
        others = ", ".join(NO_PIXELS[:-1])
        problems.add(
            f"{path}, row 1",
            f"{counted(len(columns), 'column')} beside {others} and {ADDEND}, "
            f"but the model takes {size} pixels",
            "give images of that size",
        )
        return None
    flat = pixel_values(table, columns, problems).reshape(-1, image.height, image.width, image.channels)
    pixels = np.ascontiguousarray(flat.transpose(0, 3, 1, 2))
    return InputImages(path, pixels, _addends(table, problems) if needs_addend else None)


def _addends(table: Table, problems: ErrorCollector) -> NDArray[np.int64] | None:
    name = next((name for name in table.header if name.lower() == ADDEND), None)
    if name is None:
        return None
    return addends_of(table.column(name), lambda position: table.where(position, name), problems)
