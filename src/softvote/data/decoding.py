"""Image files as arrays: upright, without transparency, and of whatever depth they are in 8 bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from softvote.data.image_values import (
    DICOM_SUFFIXES,
    Damage,
    EncodedImage,
    ImageError,
    open_values,
)
from softvote.errors import ErrorCollector
from softvote.words import counted

if TYPE_CHECKING:
    from PIL import Image

    from softvote.config.image import Image as ImageConfig


_EIGHT_BITS, _SIXTEEN_BITS = 255, 65535


_MOST_OUTSIDE = 0.01  # of an image's values may lie outside competition.image.value_range


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

    def add(self, other: Decoder) -> None:
        """Count what another did to images as well."""
        self.turned, self.laid = self.turned + other.turned, self.laid + other.laid
        self.deep, self.largest = self.deep + other.deep, max(self.largest, other.largest)

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
            notes.append(
                f"{_images(self.turned, 'was', 'were')} turned upright, as the EXIF orientation says"
            )
        if self.laid:
            laid = f"laid on {self.image.background} (image.background)"
            notes.append(f"{_images(self.laid, 'is', 'are')} transparent: {laid}")
        if self.deep:
            low, high = (*self.image.value_ranges, (0, _SIXTEEN_BITS))[0]
            more = " and so on, by channel" if len(self.image.value_ranges) > 1 else ""
            notes.append(
                f"{_images(self.deep, 'has', 'have')} more than 8 bits: {low:g}..{high:g}{more} became 0..255"
            )
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
        draft = (self.image.height, self.image.width) if self.image.draft else None
        found = open_values(encoded, draft)
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
                return [upright if upright.mode == mode else upright.convert(mode)]
            self.laid += 1
            return [_on_ground(upright, self.image.background).convert(mode)]
        if channels == 4 and upright.mode in ("P", "LA", "PA"):
            upright = upright.convert("RGBA")
        if len(upright.getbands()) != channels:
            raise _channels_differ(len(upright.getbands()), channels)
        return list(upright.split())

    def scale(self, values: NDArray[Any], check: bool) -> NDArray[np.uint8]:
        """uint8 of values by `value_range`, the first of which becomes 0 and the second 255.

        Args:
            values: numbers of any shape that ends in C or 1.
            check: whether values outside it are wrong; those outside a DICOM window are not.

        Raises:
            ImageError: values that are not numbers, or many outside.
        """
        ranges = self.image.value_ranges
        if not ranges:
            if values.dtype != np.uint16:
                low, high = likely_range(float(np.nanmin(values)), float(np.nanmax(values)))
                raise ImageError(
                    f"holds {values.dtype}, from {np.nanmin(values):g} to {np.nanmax(values):g}",
                    f"say what is black and white, such as image.value_range: [{low:g}, {high:g}]",
                )
            return (values.astype(np.float32) / (_SIXTEEN_BITS // _EIGHT_BITS)).round().astype(np.uint8)
        black, white = (np.array(ends, np.float32) for ends in zip(*ranges, strict=True))
        with np.errstate(invalid="ignore"):
            scaled = (values.astype(np.float32) - black) / (white - black)
        if np.isnan(scaled).any():
            raise ImageError("holds values that are not numbers (NaN)", "fix or drop it")
        outside = float(np.mean((scaled < -1e-6) | (scaled > 1 + 1e-6)))
        if check and outside > _MOST_OUTSIDE:
            raise ImageError(
                f"holds {np.min(values):g}..{np.max(values):g}, and {outside:.0%} of it lies outside "
                "image.value_range",
                "fix that",
            )
        return (scaled.clip(0, 1) * _EIGHT_BITS).round().astype(np.uint8)


def likely_range(low: float, high: float) -> tuple[float, float]:
    """What is black and white in images that hold values from low to high: the usual ends, else these."""
    usual = [(0.0, 1.0), (-1.0, 1.0), *((0.0, float(2**bits - 1)) for bits in (8, 10, 12, 14, 16))]
    for first, last in usual:
        if first <= low and high <= last and (last <= 1 or high > 1):
            return first, last
    return (low, high) if high > low else (low, low + 1)


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


def _images(number: int, one: str, several: str) -> str:
    return counted(number, f"image {one}", f"images {several}")


def _channels_differ(found: int, channels: int) -> ImageError:
    return ImageError(
        f"has {counted(found, 'channel')}, competition.image says {channels}", "fix image.channels"
    )


def _reason(error: BaseException) -> str:
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    return str(error).partition("\n")[0] or type(error).__name__
