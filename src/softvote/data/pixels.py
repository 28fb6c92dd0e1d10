"""Pixels of many images that need not lie in memory: rows of a file, some of another's rows, several in one.

Whoever takes `Pixels` asks for the rows it needs now, and for no others.
"""

from __future__ import annotations

import io
import math
import mmap
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeGuard

import numpy as np
from numpy.typing import NDArray

RowIndex = int | slice | NDArray[np.int64]
"""One row, a slice of them, or row numbers int64 (n,)."""


LARGE = 1 << 28
"""Bytes of pixels from which on a process keeps no more of them in its memory than it needs."""


_HELD = 1 << 26  # bytes that are read of these before they are let go of


_READ_AT_ONCE = 1 << 24  # bytes, where all images are gone through


class Pixels(Protocol):
    """Images uint8 (N, C, H, W), 0..255, by their row; an array is one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """N, C, H, W."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint8."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> Any:
        """uint8 (n, C, H, W) of row numbers int64 (n,) or a slice; (C, H, W) of one row."""


class StoredPixels:
    """Pixels that give their rows by `gather`; numpy sees an array in them where it is asked for one."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any] = np.dtype(np.uint8)

    def gather(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """uint8 (n, C, H, W) of row numbers int64 (n,), 0..N-1, in memory of its own."""
        raise NotImplementedError

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: RowIndex) -> NDArray[np.uint8]:
        if isinstance(rows, slice):
            return self.gather(np.arange(*rows.indices(len(self))))
        numbers = _row_numbers(np.asarray(rows))
        numbers = np.where(numbers < 0, numbers + len(self), numbers)
        found = self.gather(np.atleast_1d(numbers))
        return found[0] if numbers.ndim == 0 else found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[:] if dtype is None else self[:].astype(dtype)


class MappedPixels(StoredPixels):
    """The pixels of a `.npy` file, mapped: processes that read them share the memory.

    What was read is let go of again now and then: the system keeps it for all as long as there is room, and
    no process counts it as its own.

    Args:
        path: of an array uint8 (N, C, H, W).
        channels_last: whether it is (N, H, W, C), or (N, H, W) of one channel, instead.
    """

    def __init__(self, path: Path, channels_last: bool = False) -> None:
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
        self._channels_last, self._mapped = channels_last, mapped
        self.shape = self._in_order(mapped).shape
        self._touched = 0

    def _in_order(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Images of the file as (n, C, H, W)."""
        if not self._channels_last:
            return images
        return (images if images.ndim == 4 else images[..., None]).transpose(0, 3, 1, 2)

    def gather(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Copy rows, and let go of what was read where it is much."""
        found = np.ascontiguousarray(self._in_order(np.asarray(self._mapped)[rows]))
        self._touched += found.nbytes
        if self._touched > _HELD:
            self._touched = 0
            _let_go(self._mapped)
        return found

    def __reduce__(self) -> Any:
        # Elsewhere the file may not be: there it is an array, whose memory Ray shares.
        return np.asarray, (np.ascontiguousarray(self._in_order(np.asarray(self._mapped))),)


def _let_go(mapped: np.memmap[Any, Any]) -> None:
    if sys.platform == "linux":  # where others only take it as a hint, or mean something else
        mapped._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]


class SelectedPixels(StoredPixels):
    """Some rows of other pixels, by number; none is copied before it is asked for."""

    def __init__(self, whole: Pixels, rows: NDArray[np.int64]) -> None:
        self.whole, self.rows = whole, rows
        self.shape = (len(rows), *whole.shape[1:])

    def gather(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The same rows of the whole."""
        return gather_rows(self.whole, self.rows[rows])


def join_pixels(parts: Sequence[Pixels]) -> Pixels:
    """Several pixels of one size as one: an array of arrays, else rows of each part."""
    if len(parts) == 1:
        return parts[0]
    arrays = [part for part in parts if is_array(part)]
    return np.concatenate(arrays) if len(arrays) == len(parts) else JoinedPixels(parts)


class JoinedPixels(StoredPixels):
    """Several pixels of one size, one after another."""

    def __init__(self, parts: Sequence[Pixels]) -> None:
        self.parts = parts
        self._ends = np.cumsum([len(part) for part in parts])
        self.shape = (int(self._ends[-1]), *parts[0].shape[1:])

    def gather(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Rows of each part that has some."""
        found = np.empty((len(rows), *self.shape[1:]), np.uint8)
        part_of = np.searchsorted(self._ends, rows, side="right")
        for number in np.unique(part_of).tolist():
            own = part_of == number
            start = int(self._ends[number]) - len(self.parts[number])
            found[own] = gather_rows(self.parts[number], rows[own] - start)
        return found


def select_rows(pixels: Pixels, rows: NDArray[np.int64] | slice) -> Pixels:
    """Some of the pixels without a copy: a view of an array's slice, else rows by number, int64 (n,)."""
    if isinstance(rows, slice):
        if isinstance(pixels, np.ndarray):
            return pixels[rows]
        rows = np.arange(len(pixels))[rows]
    rows = _row_numbers(rows)
    if isinstance(pixels, SelectedPixels):
        return SelectedPixels(pixels.whole, pixels.rows[rows])
    return SelectedPixels(pixels, rows)


def _row_numbers(rows: NDArray[Any]) -> NDArray[np.int64]:
    """The same numbers; others would be taken for some, as False and True for the first two rows.

    Raises:
        IndexError: they are no whole numbers.
    """
    if rows.dtype.kind not in "iu" and rows.size:
        raise IndexError(f"rows are named by whole numbers, not by {rows.dtype}: use np.flatnonzero")
    return rows


def gather_rows(pixels: Pixels, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    """uint8 (n, C, H, W) of row numbers int64 (n,), in memory of its own."""
    found: NDArray[np.uint8] = pixels[rows]
    return found


def is_array(pixels: Pixels) -> TypeGuard[NDArray[np.uint8]]:
    """Whether these are an array, in memory or mapped to it."""
    return isinstance(pixels, np.ndarray)


def bytes_of(pixels: Pixels) -> int:
    """Bytes that all of them take."""
    return math.prod(pixels.shape)


def open_pixels(path: Path) -> Pixels:
    """The pixels of a `.npy` file: an array that is mapped, or where they are many `MappedPixels`.

    Raises:
        OSError, ValueError: it cannot be read, or is no such file.
    """
    # Pages are copied when written to, because torch warns of arrays that cannot be.
    mapped = np.load(path, mmap_mode="c", allow_pickle=False)
    return MappedPixels(path) if mapped.nbytes > LARGE else np.asarray(mapped)


def npy_header(shape: tuple[int, ...]) -> bytes:
    """How a `.npy` file of an array uint8 of a shape begins."""
    buffer = io.BytesIO()
    described: dict[str, Any] = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, described)
    return buffer.getvalue()


def save_pixels(path: Path, pixels: Pixels) -> None:
    """Write a `.npy` file of all images, of which few lie in memory at once."""
    with path.open("wb") as file:
        file.write(npy_header(pixels.shape))
        for part in iterate_pixels(pixels):
            file.write(np.ascontiguousarray(part).data)


def iterate_pixels(pixels: Pixels, bytes_at_once: int = _READ_AT_ONCE) -> Iterator[NDArray[np.uint8]]:
    """All images in their order, uint8 (n, C, H, W), as many at once as bytes allow and one at least."""
    step = max(1, bytes_at_once // max(1, math.prod(pixels.shape[1:])))
    for start in range(0, len(pixels), step):
        yield pixels[start : start + step]
