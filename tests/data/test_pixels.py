"""data.pixels: every kind of pixels gives the rows of the array it stands for, and copies no others."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from softvote.data import pixels as module
from softvote.data.pixels import (
    JoinedPixels,
    MappedPixels,
    Pixels,
    SelectedPixels,
    bytes_of,
    gather_rows,
    iterate_pixels,
    open_pixels,
    select_rows,
)

WHOLE = np.random.default_rng(0).integers(0, 256, (7, 2, 3, 4), np.uint8)
ORDER = np.array([6, 0, 3, 3, 1, 2, 5])


def mapped(folder: Path, array: NDArray[np.uint8]) -> MappedPixels:
    np.save(folder / "pixels.npy", array)
    return MappedPixels(folder / "pixels.npy")


KINDS: dict[str, Callable[[Path], tuple[Pixels, NDArray[np.uint8]]]] = {
    "array": lambda folder: (WHOLE, WHOLE),
    "mapped": lambda folder: (mapped(folder, WHOLE), WHOLE),
    "selected": lambda folder: (SelectedPixels(mapped(folder, WHOLE), ORDER), WHOLE[ORDER]),
    "selected twice": lambda folder: (select_rows(select_rows(WHOLE, ORDER), ORDER), WHOLE[ORDER][ORDER]),
    "joined": lambda folder: (JoinedPixels([mapped(folder, WHOLE[:3]), WHOLE[:0], WHOLE[3:]]), WHOLE),
}


@pytest.mark.parametrize("kind", KINDS)
def test_any_rows_are_those_of_the_array(tmp_path: Path, kind: str) -> None:
    found, whole = KINDS[kind](tmp_path)
    assert found.shape == whole.shape and found.dtype == np.uint8 and len(found) == len(whole)
    assert bytes_of(found) == whole.nbytes
    for rows in (ORDER, np.array([], np.int64), slice(None), slice(1, None, 2), slice(-2, None), 3, -1):
        assert np.array_equal(found[rows], whole[rows])
    assert np.array_equal(gather_rows(found, ORDER), whole[ORDER])
    assert np.array_equal(np.asarray(found), whole)
    parts = list(iterate_pixels(found, 2 * whole[0].nbytes))
    assert max(map(len, parts)) == 2 and np.array_equal(np.concatenate(parts), whole)
    assert np.array_equal(np.asarray(pickle.loads(pickle.dumps(found))), whole)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_named_by_number(tmp_path: Path, kind: str) -> None:
    found, whole = KINDS[kind](tmp_path)
    mask = np.arange(len(whole)) == 4
    with pytest.raises(IndexError, match="flatnonzero"):
        select_rows(found, mask)  # type: ignore[arg-type]
    if not isinstance(found, np.ndarray):
        with pytest.raises(IndexError, match="flatnonzero"):
            found[mask]


@pytest.mark.parametrize("kind", KINDS)
def test_some_rows_are_no_copy(tmp_path: Path, kind: str) -> None:
    found, whole = KINDS[kind](tmp_path)
    some = select_rows(found, ORDER)
    assert isinstance(some, SelectedPixels) and np.array_equal(some[:], whole[ORDER])
    part = select_rows(found, slice(1, None, 2))
    assert np.array_equal(part[:], whole[1::2])
    assert not isinstance(part, np.ndarray) or np.shares_memory(part, found)


def test_a_large_file_is_let_go_of_after_so_many_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LARGE", 0)
    monkeypatch.setattr(module, "_HELD", 3 * WHOLE[0].nbytes)
    let_go: list[object] = []
    monkeypatch.setattr(module, "_let_go", let_go.append)
    np.save(tmp_path / "pixels.npy", WHOLE)
    found = open_pixels(tmp_path / "pixels.npy")
    assert isinstance(found, MappedPixels)
    for row in range(7):
        assert np.array_equal(found[row], WHOLE[row])
    assert len(let_go) == 1
    monkeypatch.undo()
    assert np.array_equal(found[ORDER], WHOLE[ORDER])
    module._let_go(found._mapped)
    assert np.array_equal(found[ORDER], WHOLE[ORDER])


def test_a_small_file_is_an_array(tmp_path: Path) -> None:
    np.save(tmp_path / "pixels.npy", WHOLE)
    found = open_pixels(tmp_path / "pixels.npy")
    assert type(found) is np.ndarray and isinstance(found.base, np.memmap)
