"""Image files as arrays: upright, without transparency, and of whatever depth they are in 8 bits.

Pillow opens most of them; DICOM needs pydicom, and files of more than 8 bits a channel need OpenCV, because
Pillow would keep their upper byte alone.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from softvote.errors import ErrorCollector

if TYPE_CHECKING:
    from PIL import Image

    from softvote.config.competition import Image as ImageConfig


DICOM_SUFFIXES = (".dcm", ".dicom")


SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".jp2", ".ppm", ".pgm", *DICOM_SUFFIXES
)  # fmt: skip
"""Ends of names of image files, in small letters."""


_EIGHT_BITS, _SIXTEEN_BITS = 255, 65535


_MOST_OUTSIDE = 0.01  # of an image's values may lie outside competition.image.value_range


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
        content: where it lies, or its bytes.
    """

    name: str
    suffix: str
    content: Path | bytes

    @classmethod
    def of(cls, path: Path) -> EncodedImage:
        """The image in a file."""
        return cls(str(path), path.suffix.lower(), path)

    def open(self) -> BinaryIO:
        """Its bytes from the start."""
        if isinstance(self.content, bytes):
            return io.BytesIO(self.content)
        return self.content.open("rb")


@dataclass
class Decoder:
    """Brings image files to the size, the channels and the 8 bits that a competition asks for.

    Attributes:
        image: what it asks for.
        turned: how many files were turned upright.
        laid: how many had transparency, which was laid on a ground.
        largest: the largest value of files of 16 bits, in files that hold whole numbers.
        deep: how many files have 16 bits.
    """

    image: ImageConfig
    turned: int = 0
    laid: int = 0
    largest: float = 0
    deep: int = 0

    def load(self, encoded: EncodedImage, place: str, problems: ErrorCollector) -> NDArray[np.uint8] | None:
        """One image, uint8 (C, H, W); what is wrong is noted at the place that names it, and gives None."""
        try:
            bands = self.decode(encoded)
            size, wanted = bands[0].size[::-1], (self.image.height, self.image.width)
            if size != wanted and not self.image.resize:
                found, named = (" x ".join(map(str, sides)) for sides in (size, wanted))
                raise ImageError(f"is {found}, competition.image says {named}", "set image.resize: true")
            return to_pixels(bands, *wanted)
        except ImageError as error:
            problems.add(place, f"{encoded.name} {error.what}", error.hint)
            return None

    def decode(self, encoded: EncodedImage) -> list[Image.Image]:
        """One image as large as it is, in mode L or RGB, or a band for each channel in mode L.

        Raises:
            ImageError: it is damaged, or has other channels or values than are asked for.
        """
        try:
            return self._bands(encoded)
        except Damage as error:
            raise ImageError(f"is damaged ({_reason(error)})", "download it again") from None

    def notes(self) -> list[str]:
        """What is to be said of what was done to images."""
        notes = []
        if self.turned:
            notes.append(f"{self.turned:,} images were turned upright, as their EXIF orientation says")
        if self.laid:
            notes.append(
                f"{self.laid:,} images are transparent: laid on {self.image.background} (image.background)"
            )
        if self.deep:
            low, high = (*self.image.value_ranges, (0, _SIXTEEN_BITS))[0]
            more = " and so on, by channel" if len(self.image.value_ranges) > 1 else ""
            notes.append(f"{self.deep:,} images have more than 8 bits: {low:g}..{high:g}{more} became 0..255")
        return notes

    def report_depth(self, where: object, problems: ErrorCollector) -> None:
        """Note images of 16 bits that use few of them, where nothing says what white is."""
        if self.deep and not self.image.value_ranges and self.largest <= _SIXTEEN_BITS // 2:
            proposal = likely_range(0, self.largest)
            problems.add(
                where,
                f"images of 16 bits hold no value above {self.largest:g}, so all would be dark",
                f"write image.value_range: [{proposal[0]:g}, {proposal[1]:g}]",
            )

    def _bands(self, encoded: EncodedImage) -> list[Image.Image]:
        from PIL import Image

        channels = self.image.channels
        found = open_values(encoded)
        if isinstance(found, Image.Image):
            return self._eight_bit_bands(found)
        values = found.values
        if values.dtype != np.uint8:
            self.deep += 1
            if values.dtype.kind in "ui":
                self.largest = max(self.largest, float(values.max(initial=0)))
            values = self.scale(values, encoded.suffix not in DICOM_SUFFIXES)
        if found.low_is_white:
            values = _EIGHT_BITS - values
        if values.shape[2] == 3 and channels == 1:
            return [Image.fromarray(values).convert("L")]
        if values.shape[2] == 1 and channels > 1:
            values = np.repeat(values, channels, axis=2) if channels == 3 else values
        if values.shape[2] != channels:
            raise _channels_differ(values.shape[2], channels)
        return [Image.fromarray(np.ascontiguousarray(values[..., band])) for band in range(channels)]

    def _eight_bit_bands(self, opened: Image.Image) -> list[Image.Image]:
        """An image of 8 bits, turned upright and without transparency."""
        upright = _upright(opened)
        self.turned += upright is not opened
        channels = self.image.channels
        if channels in (1, 3):
            mode = "L" if channels == 1 else "RGB"
            if not _is_transparent(upright):
                return [upright.convert(mode)]
            self.laid += 1
            return [_on_ground(upright, self.image.background).convert(mode)]
        if channels == 4 and upright.mode in ("P", "LA", "PA"):
            upright = upright.convert("RGBA")
        if len(upright.getbands()) != channels:
            raise _channels_differ(len(upright.getbands()), channels)
        return list(upright.split())

    def scale(self, values: NDArray[Any], check: bool) -> NDArray[np.uint8]:
        """uint8 of values (..., C or 1) by `value_range`, the first of which becomes 0 and the second 255.

        Args:
            check: whether values outside it are wrong; those outside a DICOM window are not.

        Raises:
            ImageError: values that are no numbers, or many outside.
        """
        ranges = self.image.value_ranges
        if not ranges:
            if values.dtype != np.uint16:
                low, high = likely_range(float(np.nanmin(values)), float(np.nanmax(values)))
                raise ImageError(
                    f"holds {values.dtype}, from {np.nanmin(values):g} to {np.nanmax(values):g}",
                    f"say what is black and white, as image.value_range: [{low:g}, {high:g}]",
                )
            return (values.astype(np.float32) / (_SIXTEEN_BITS // _EIGHT_BITS)).round().astype(np.uint8)
        black, white = (np.array(ends, np.float32) for ends in zip(*ranges, strict=True))
        with np.errstate(invalid="ignore"):
            scaled = (values.astype(np.float32) - black) / (white - black)
        if np.isnan(scaled).any():
            raise ImageError("holds values that are no numbers (NaN)", "mend or drop it")
        outside = float(np.mean((scaled < -1e-6) | (scaled > 1 + 1e-6)))
        if check and outside > _MOST_OUTSIDE:
            raise ImageError(
                f"holds {np.min(values):g}..{np.max(values):g}, and {outside:.0%} of it lies outside "
                "image.value_range",
                "mend that",
            )
        return (scaled.clip(0, 1) * _EIGHT_BITS).round().astype(np.uint8)


def likely_range(low: float, high: float) -> tuple[float, float]:
    """What is black and white in images that hold values from low to high: the usual ends, else these."""
    usual = [(0.0, 1.0), (-1.0, 1.0), *((0.0, float(2**bits - 1)) for bits in (8, 10, 12, 14, 16))]
    for first, last in usual:
        if first <= low and high <= last and (last <= 1 or high > 1):
            return first, last
    return (low, high) if high > low else (low, low + 1)


def open_values(encoded: EncodedImage) -> Image.Image | RawValues:
    """What is in an image file: Pillow's image where that holds 8 bits, else an array.

    Raises:
        OSError, ValueError, ...: any of `Damage`; it is none, or is damaged.
        ImageError: a library is missing, or it holds several images.
    """
    from PIL import Image

    if encoded.suffix in DICOM_SUFFIXES:
        return _dicom(encoded)
    with warnings.catch_warnings(), encoded.open() as file:
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            opened = Image.open(file)
            depth = _depth(opened, file)
            pages = getattr(opened, "n_frames", 1) if opened.format == "TIFF" else 1
            if pages > 1:
                return RawValues(_pages(opened, pages))
            if depth > 8 and len(opened.getbands()) > 1:
                return RawValues(_by_opencv(file))
            opened.load()
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise ValueError(str(error)) from None
    if opened.mode.startswith("I"):
        # PNG holds no more than 16 bits, even where Pillow opens it in 32.
        values = np.asarray(opened)
        inside = values.min(initial=0) >= 0 and values.max(initial=0) <= _SIXTEEN_BITS
        return RawValues((values.astype(np.uint16) if inside else values)[..., None])
    return RawValues(np.asarray(opened)[..., None]) if opened.mode == "F" else opened


class Shape(NamedTuple):
    """Height and width of an image that stands upright, its channels, and whether it has more than 8 bits."""

    height: int
    width: int
    channels: int
    is_deep: bool


def upright_size(encoded: EncodedImage) -> Shape:
    """What an image file holds, without decoding it where that can be avoided.

    Raises:
        ImageError: a library is missing, or it holds several images.
        OSError, ValueError, ...: any of `Damage`.
    """
    from PIL import ExifTags, Image

    if encoded.suffix not in DICOM_SUFFIXES:
        with encoded.open() as file, Image.open(file) as opened:
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
            raise ImageError(f"has {count} pages that are no bands of one image", "save one page a file")
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
            raise ImageError(f"has {dataset.NumberOfFrames} frames", "save one frame a file")
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


def _upright(image: Image.Image) -> Image.Image:
    """Turned as its EXIF says; the same object where it says nothing."""
    from PIL import ExifTags, ImageOps

    if image.getexif().get(ExifTags.Base.Orientation, 1) in (None, 1):
        return image
    return ImageOps.exif_transpose(image)


def _is_transparent(image: Image.Image) -> bool:
    if image.mode not in ("RGBA", "LA", "PA", "La", "RGBa") and "transparency" not in image.info:
        return False
    return bool(image.convert("RGBA").getchannel("A").getextrema()[0] != _EIGHT_BITS)


def _on_ground(image: Image.Image, background: str) -> Image.Image:
    """Without its transparency, in RGB.

    Raises:
        ImageError: what is visible of it has the colour of the ground.
    """
    from PIL import Image

    visible = image.convert("RGBA")
    ground = Image.new("RGBA", image.size, background)
    opaque = Image.alpha_composite(ground, visible).convert("RGB")
    has_ink = visible.getchannel("A").getextrema() != (0, 0)
    if has_ink and opaque.getextrema() == ground.convert("RGB").getextrema():
        other = "black" if background == "white" else "white"
        raise ImageError(f"is transparent and vanishes on {background}", f"set image.background: {other}")
    return opaque


def to_pixels(bands: Sequence[Image.Image], height: int, width: int) -> NDArray[np.uint8]:
    """uint8 (C, height, width) of images in mode L or RGB, one after another."""
    planes = [_plane(band, height, width) for band in bands]
    return planes[0] if len(planes) == 1 else np.concatenate(planes)


def _plane(image: Image.Image, height: int, width: int) -> NDArray[np.uint8]:
    """uint8 (bands, H, W) of an image in mode L or RGB, brought to height and width."""
    from PIL import Image

    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(height, width, -1).transpose(2, 0, 1)


def resize_pixels(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """uint8 (N, C, height, width) of images (N, C, H, W) of another size."""
    from PIL import Image

    if pixels.shape[2:] == (height, width):
        return pixels
    planes = [
        _plane(Image.fromarray(plane), height, width) for plane in pixels.reshape(-1, *pixels.shape[2:])
    ]
    return np.stack(planes).reshape(*pixels.shape[:2], height, width)


def _channels_differ(found: int, channels: int) -> ImageError:
    return ImageError(f"has {found} channels, competition.image says {channels}", "mend image.channels")


def _reason(error: BaseException) -> str:
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    return str(error).partition("\n")[0] or type(error).__name__
