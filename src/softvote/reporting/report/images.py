"""Images as data URIs, small enough that a page of a thousand stays one file."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray

_SIDE = 96  # pixels of the longer side; what is smaller stays as it is
_MOST_BYTES = 6_000_000  # of pictures that only a click shows


def encode_image(image: NDArray[np.uint8]) -> str:
    """An image as a data URI: PNG where it is small, else WebP of at most 96 pixels.

    Args:
        image: uint8 (C, H, W), of one channel or three.
    """
    from PIL import Image

    channels_last = image[0] if image.shape[0] == 1 else image.transpose(1, 2, 0)
    picture = Image.fromarray(np.ascontiguousarray(channels_last))
    small = max(picture.size) <= _SIDE // 2
    if not small:
        picture.thumbnail((_SIDE, _SIDE))
    buffer, kind = io.BytesIO(), "png" if small else "webp"
    picture.save(buffer, kind, **({"optimize": True} if small else {"quality": 75}))
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


class PictureStore:
    """Pictures that the page holds once each and shows when somebody asks.

    Attributes:
        entries: data URI and caption of each, by its key.
        left_out: how many found no room.
    """

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self.entries: dict[str, tuple[str, str]] = {}
        self.left_out = 0
        self._room = most_bytes

    def add(self, key: str, image: NDArray[np.uint8], caption: str) -> str | None:
        """Keep a picture; its key, or None where there is no more room.

        Args:
            image: uint8 (C, H, W).
        """
        if key in self.entries:
            return key
        if self._room <= 0:
            self.left_out += 1
            return None
        source = encode_image(image)
        self._room -= len(source)
        self.entries[key] = (source, caption)
        return key
