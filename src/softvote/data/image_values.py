"""What is in an image file, as the file has it.

Pillow opens most of them; DICOM needs pydicom, and files of more than 8 bits per channel need OpenCV, because
Pillow would keep their upper byte alone.
"""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image


DICOM_SUFFIXES = (".dcm", ".dicom")


SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".jp2", ".ppm", ".pgm", *DICOM_SUFFIXES
)  # fmt: skip
"""Ends of names of image files, in small letters."""


_SIXTEEN_BITS = 65535


Damage = (OSError, ValueError, SyntaxError, KeyError, AttributeError, NotImplementedError, RuntimeError)


class RawValues(NamedTuple):
    """An image as its file has it: values (H, W, C) of any type; whether the lowest of them is white."""

    values: NDArray[Any]
    low_is_white: bool = False


class ImageError(Exception):
    """An image that cannot be had: what is wrong with the file, and what to do."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.what, self.hint = what, hint


@dataclass(frozen=True)
class EncodedImage:
    """An image file, or what would be one.

    Attributes:
        name: of the file, for messages.
        suffix: of its name, in small letters.
        content: where it lies, its bytes, or what reads them.
    """

    name: str
    suffix: str
    content: Path | bytes | Callable[[], bytes]

    @classmethod
    def of(cls, path: Path) -> EncodedImage:
        """The image in a file."""
        return cls(str(path), path.suffix.lower(), path)

    def __reduce__(self) -> Any:
        # Another process may work in another folder, as those of a cluster do.
        content = self.content.absolute() if isinstance(self.content, Path) else self.content
        return EncodedImage, (self.name, self.suffix, content)

    def open(self) -> BinaryIO:
        """Its bytes from the start."""
        return self.content.open("rb") if isinstance(self.content, Path) else io.BytesIO(self.read())

    def read(self) -> bytes:
        """All its bytes."""
        if isinstance(self.content, bytes):
            return self.content
        return self.content.read_bytes() if isinstance(self.content, Path) else self.content()


def open_values(encoded: EncodedImage, draft: tuple[int, int] | None = None) -> Image.Image | RawValues:
    """What is in an image file: Pillow's image where that holds 8 bits, else an array.

    Args:
        draft: height and width that will do: of larger JPEG files no more is decoded than that takes.

    Raises:
        OSError, ValueError, ...: any of `Damage`; it is none, or is damaged.
        ImageError: a library is missing, it holds several images, or one that is too large.
    """
    from PIL import Image

    if encoded.suffix in DICOM_SUFFIXES:
        return _dicom(encoded)
    # Pillow reads little at a time, and each time waits for Python.
    with io.BytesIO(encoded.read()) as file, _refusing_bombs():
        opened = Image.open(file)
        depth = _depth(opened, file)
        pages = getattr(opened, "n_frames", 1) if opened.format == "TIFF" else 1
        if pages > 1:
            return RawValues(_pages(opened, pages))
        if depth > 8 and len(opened.getbands()) > 1:
            return RawValues(_by_opencv(file))
        if draft is not None and opened.format == "JPEG":
            side = max(draft)  # whichever way it is turned later
            opened.draft(None, (side, side))
        opened.load()
    if opened.mode.startswith("I"):
        # PNG holds no more than 16 bits, even where Pillow opens it in 32.
        values = np.asarray(opened)
        inside = values.min(initial=0) >= 0 and values.max(initial=0) <= _SIXTEEN_BITS
        return RawValues((values.astype(np.uint16) if inside else values)[..., None])
    return RawValues(np.asarray(opened)[..., None]) if opened.mode == "F" else opened


@contextlib.contextmanager
def _refusing_bombs() -> Iterator[None]:
    """Refuse images of far too many pixels, of some of which Pillow would only warn.

    Raises:
        ImageError: it is one.
    """
    from PIL import Image

    # For good: what catch_warnings restores at its end would be another thread's.
    if ("error", None, Image.DecompressionBombWarning, None, 0) not in warnings.filters:
        warnings.simplefilter("error", Image.DecompressionBombWarning)
    try:
        yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        found = re.search(r"\d+", str(error))
        pixels = f"{int(found[0]):,} pixels, " if found else ""
        raise ImageError(
            f"is too large, {pixels}more than the {Image.MAX_IMAGE_PIXELS:,} that are decoded",
            "shrink it, or cut it into parts, and save it under the same name",
        ) from None


class Shape(NamedTuple):
    """Height and width of an image that stands upright, its channels, and whether it has more than 8 bits."""

    height: int
    width: int
    channels: int
    is_deep: bool


def upright_size(encoded: EncodedImage) -> Shape:
    """What an image file holds, without decoding it where that can be avoided.

    Raises:
        ImageError: a library is missing, it holds several images, or one that is too large.
        OSError, ValueError, ...: any of `Damage`.
    """
    from PIL import ExifTags, Image

    if encoded.suffix not in DICOM_SUFFIXES:
        with encoded.open() as file, _refusing_bombs(), Image.open(file) as opened:
            one_page = opened.format != "TIFF" or getattr(opened, "n_frames", 1) == 1
            if one_page and _depth(opened, file) <= 8:
                sideways = opened.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
                width, height = opened.size[::-1] if sideways else opened.size
                bands = len(opened.getbands())
                grey = opened.mode[0] in "1LI"
                channels = 1 if grey else 4 if bands == 4 and opened.format == "TIFF" else 3
                return Shape(height, width, channels, False)
    found = open_values(encoded)
    if isinstance(found, Image.Image):
        return Shape(found.height, found.width, len(found.getbands()), False)
    height, width, channels = found.values.shape
    return Shape(height, width, channels, found.values.dtype != np.uint8)


def _depth(opened: Image.Image, file: BinaryIO) -> int:
    """Bits a channel."""
    if opened.format == "PNG":
        file.seek(24)
        depth = file.read(1)[0]
        file.seek(0)
        return depth
    if opened.format == "TIFF":
        bits = opened.tag_v2.get(258, (8,))  # type: ignore[attr-defined]
        return max(bits) if isinstance(bits, tuple) else int(bits)
    return 8


def _pages(opened: Image.Image, count: int) -> NDArray[Any]:
    """The pages of a TIFF as bands (H, W, C)."""
    pages: list[NDArray[Any]] = []
    for page in range(count):
        opened.seek(page)
        values = np.asarray(opened)
        if values.ndim != 2 or (pages and values.shape != pages[0].shape):
            raise ImageError(f"has {count} pages that are not bands of one image", "save one page per file")
        pages.append(values)
    return np.stack(pages, axis=-1)


def _by_opencv(file: BinaryIO) -> NDArray[Any]:
    """An array (H, W, C) of any depth, colours in the order red, green, blue."""
    import cv2

    file.seek(0)
    values = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None:
        raise ValueError("its depth and channels are not known to OpenCV")
    if values.ndim == 2:
        return values[..., None]
    if values.shape[2] == 3:
        return np.asarray(values[..., ::-1])
    return np.asarray(values[..., [2, 1, 0, *range(3, values.shape[2])]])


def _dicom(encoded: EncodedImage) -> RawValues:
    """Values in the units of the modality, as Hounsfield units."""
    try:
        import pydicom
        from pydicom.pixels.processing import apply_modality_lut
        from pydicom.pixels.utils import pixel_array
    except ImportError:
        raise ImageError("is DICOM, which needs pydicom", "install softvote[formats]") from None
    with warnings.catch_warnings(), encoded.open() as file:
        warnings.simplefilter("ignore")  # of what the standard would have otherwise in other fields
        try:
            dataset = pydicom.dcmread(file)
        except pydicom.errors.InvalidDicomError:
            raise ValueError("not an image") from None
        if int(getattr(dataset, "NumberOfFrames", None) or 1) > 1:
            raise ImageError(f"has {dataset.NumberOfFrames} frames", "save one frame per file")
        values: NDArray[Any] = pixel_array(dataset)
        rescale = (dataset.get("RescaleSlope") or 1, dataset.get("RescaleIntercept") or 0)
        if "ModalityLUTSequence" in dataset or rescale != (1, 0):
            values = apply_modality_lut(values, dataset)
    if values.ndim == 2:
        values = values[..., None]
    if values.dtype == np.uint16 or (values.dtype.kind == "f" and bool((values == values.round()).all())):
        values = values.astype(np.int32)  # of 16 bits only some are used, so what is white must be said
    return RawValues(values, dataset.PhotometricInterpretation == "MONOCHROME1")


def dicom_windows(path: Path) -> list[tuple[float, float]]:
    """The windows that a DICOM file names, as lowest and highest value; none where it names none."""
    import pydicom

    dataset = pydicom.dcmread(path, stop_before_pixels=True)
    centers, widths = (
        np.atleast_1d(dataset.get(name) if dataset.get(name) is not None else []).astype(float).tolist()
        for name in ("WindowCenter", "WindowWidth")
    )
    return [(center - width / 2, center + width / 2) for center, width in zip(centers, widths, strict=False)]
