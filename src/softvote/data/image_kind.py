"""What the images of a competition are like: their size, their channels, and the values that they hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from softvote.data.decoding import likely_range
from softvote.data.image_values import (
    DICOM_SUFFIXES,
    Damage,
    EncodedImage,
    ImageError,
    RawValues,
    dicom_windows,
    open_values,
    upright_size,
)
from softvote.data.readers.detection import Size
from softvote.errors import UserError

LARGEST = 224
"""Image files with a longer side are scaled down to this."""


_MEASURED = 50  # images of more than 8 bits, whose values are read whole


@dataclass(frozen=True)
class ImageKind:
    """What images are like.

    Attributes:
        size: height and width, the commonest and within limits.
        channels: of the images.
        resize: whether there are other sizes.
        image: further keys of `competition.image`.
        notes: what was seen.
    """

    size: Size
    channels: int
    resize: bool
    image: dict[str, Any]
    notes: list[str]


def look_at(images: Sequence[EncodedImage], wanted: Size | None, count: int | None = None) -> ImageKind:
    """Look into image files.

    Args:
        wanted: height and width, where somebody said them.
        count: how many files an image has, where each is a channel.

    Raises:
        UserError: one cannot be read.
    """
    sizes, channels, deep = Counter[Size](), Counter[int](), list[tuple[str, float, float]]()
    windows = Counter[tuple[float, float]]()
    for encoded in images:
        try:
            found = upright_size(encoded)
            sizes[found.height, found.width] += 1
            channels[found.channels] += 1
            if found.is_deep and len(deep) < _MEASURED:
                values = open_values(encoded)
                assert isinstance(values, RawValues), "images of 8 bits are not deep"
                deep.append(
                    (str(values.values.dtype), float(values.values.min()), float(values.values.max()))
                )
                if encoded.suffix in DICOM_SUFFIXES and isinstance(encoded.content, Path):
                    windows.update(dicom_windows(encoded.content)[:1])
        except ImageError as error:
            raise UserError.at(encoded.name, error.what, error.hint) from None
        except Damage:
            raise UserError.at(
                encoded.name, "is not an image that can be read", "download it again"
            ) from None
    height, width = wanted or _limit_size(*sizes.most_common(1)[0][0])
    image, notes = _depth(deep, windows)
    if len(sizes) > 1:
        notes.append(
            f"images have {len(sizes)} sizes, most often {' x '.join(map(str, sizes.most_common(1)[0][0]))}"
        )
    most = max(channels)
    if len(channels) > 1 and count is None:
        notes.append(f"images have {' and '.join(map(str, sorted(channels)))} channels: {most} were taken")
    return ImageKind((height, width), count or most, set(sizes) != {(height, width)}, image, notes)


def _depth(
    deep: Sequence[tuple[str, float, float]], windows: Counter[tuple[float, float]]
) -> tuple[dict[str, Any], list[str]]:
    """`image.value_range` of images of more than 8 bits."""
    if not deep:
        return {}, []
    low, high = min(each[1] for each in deep), max(each[2] for each in deep)
    held = f"images are {deep[0][0]} and hold {low:g}..{high:g} (of {len(deep)} looked at)"
    if windows:
        first, last = windows.most_common(1)[0][0]
        note = f"{held}: {first:g}..{last:g} become black..white, the window that most DICOM files name"
        return {"value_range": [first, last]}, [note]
    first, last = likely_range(low, high)
    return {"value_range": [first, last]}, [f"{held}: {first:g}..{last:g} become black..white"]


def _limit_size(height: int, width: int) -> Size:
    shrink = min(1.0, LARGEST / max(height, width))
    return max(1, round(height * shrink)), max(1, round(width * shrink))
