"""Images that stay in their files: they are decoded when somebody asks for them, by all cores at once.

Threads do it: Pillow releases the interpreter's lock while it decodes and resizes, and processes would send
every image from one to the other.
"""

from __future__ import annotations

import functools
import math
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from softvote import machine
from softvote.data.decoding import Decoder
from softvote.data.image_values import EncodedImage
from softvote.data.pixels import StoredPixels
from softvote.errors import MOST_OF_A_KIND, ErrorCollector, Problem, UserError
from softvote.progress import CountProgress

if TYPE_CHECKING:
    from softvote.config.image import Image


_AT_ONCE = 1 << 22  # bytes of images that one thread decodes before it takes the next


@dataclass(frozen=True)
class ImageRow:
    """The files of one image.

    Attributes:
        place: that names it, for messages.
        files: one, or one for each channel; those that were found.
        problems: what is wrong with its name.
    """

    place: str
    files: tuple[EncodedImage, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class _Decoded:
    """Some images: pixels uint8 (n, C, H, W), what was done to them, and what is wrong with each."""

    pixels: NDArray[np.uint8]
    done: Decoder
    problems: list[list[Problem]]


class FileImages(StoredPixels):
    """Pixels of image files.

    Args:
        image: what the competition asks for.
        rows: the files of each image.
        channels_apart: whether each file holds one channel.

    Attributes:
        done: what was done to the images when they were all gone through.
    """

    def __init__(self, image: Image, rows: Sequence[ImageRow], channels_apart: bool = False) -> None:
        self.image, self.rows, self.channels_apart = image, rows, channels_apart
        self.shape = (len(rows), image.channels, image.height, image.width)
        self.done = Decoder(self._image_of(image.channels - 1))

    def unreachable_file(self) -> str | None:
        """The first image's file, if this machine does not have it; None if it does.

        One stands for all: a disk is there with all its files, or not at all. What else is wrong with it is
        told when it is decoded.
        """
        encoded = next((row.files[0] for row in self.rows if row.files), None)
        if encoded is None:
            return None
        try:
            encoded.open().close()
        except OSError:
            return encoded.name
        except UserError:
            return None
        return None

    def gather(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Decode rows.

        Raises:
            UserError: files that are missing or damaged by now, one line each.
        """
        pixels, problems = np.zeros((len(rows), *self.shape[1:]), np.uint8), ErrorCollector()
        start = 0
        for part in self._decode_all(rows.tolist()):
            pixels[start : start + len(part.pixels)] = part.pixels
            start += len(part.pixels)
            for each in part.problems:
                problems.extend(each)
        problems.raise_any()
        return pixels

    def try_rows(self, rows: Sequence[int]) -> tuple[NDArray[np.uint8], dict[int, str]]:
        """Decode rows, whatever single files are like.

        Returns:
            uint8 (n, C, H, W), black where an image cannot be had; what is wrong with those, by their place.
        """
        parts = list(self._decode_all(rows))
        found = [each for part in parts for each in part.problems]
        none = np.zeros((0, *self.shape[1:]), np.uint8)
        pixels = np.concatenate([none, *(part.pixels for part in parts)])
        return pixels, {place: str(each[0]) for place, each in enumerate(found) if each}

    def go_through(self, problems: ErrorCollector, label: str, start: int = 0) -> Iterator[NDArray[np.uint8]]:
        """Decode all images in their order, uint8 (n, C, H, W), with a bar of how far it is.

        What is wrong is noted, with black images in its place; after many problems it ends.

        Args:
            label: what messages call the images.
            start: the first row; what was done to those before it is in `done` already.
        """
        before = len(problems)
        progress = CountProgress(f"decoding {label} images", len(self), start)
        try:
            for part in self._decode_all(range(start, len(self))):
                self.done.add(part.done)
                for each in part.problems:
                    if len(problems) - before <= MOST_OF_A_KIND:
                        problems.extend(each)
                yield part.pixels
                if len(problems) - before > MOST_OF_A_KIND:
                    return
                progress.add(len(part.pixels))
        finally:
            progress.close()

    def _decode_all(self, rows: Sequence[int]) -> Iterator[_Decoded]:
        """In their order, by several threads, no more ahead of what is asked for than keeps them busy."""
        step = max(1, min(32, _AT_ONCE // max(1, math.prod(self.shape[1:]))))
        step = max(1, min(step, math.ceil(len(rows) / _count_cores())))
        parts = (rows[start : start + step] for start in range(0, len(rows), step))
        ahead = deque[Future[_Decoded]]()
        try:
            ahead.extend(_threads().submit(self._decode, part) for part in islice(parts, 3 * _count_cores()))
            while ahead:
                yield ahead.popleft().result()
                ahead.extend(_threads().submit(self._decode, part) for part in islice(parts, 1))
        finally:
            for future in ahead:
                future.cancel()

    def _decode(self, rows: Sequence[int]) -> _Decoded:
        pixels = np.empty((len(rows), *self.shape[1:]), np.uint8)
        done, problems = Decoder(self.image), list[list[Problem]]()
        for place, number in enumerate(rows):
            row, planes = self.rows[number], list[NDArray[np.uint8]]()
            collected = ErrorCollector()
            collected.extend(row.problems)
            for channel, encoded in enumerate(row.files):
                decoder = Decoder(self._image_of(channel))
                plane = decoder.load(encoded, row.place, collected)
                planes += [] if plane is None else [plane]
                done.add(decoder)
            if collected:
                pixels[place] = 0
            else:
                pixels[place] = np.concatenate(planes) if self.channels_apart else planes[0]
            problems.append(collected.problems)
        return _Decoded(pixels, done, problems)

    def _image_of(self, channel: int) -> Image:
        """What is asked of the file of a channel."""
        if not self.channels_apart:
            return self.image
        ranges = self.image.value_ranges
        pair = ranges[channel if len(ranges) > 1 else 0] if ranges else None
        return self.image.model_copy(update={"channels": 1, "value_range": pair})


@functools.cache
def _count_cores() -> int:
    return machine.cores()


def _threads() -> ThreadPoolExecutor:
    return _threads_of(os.getpid())  # a process that is forked has none of its parent's threads


@functools.cache
def _threads_of(process: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_count_cores(), "decoding")
