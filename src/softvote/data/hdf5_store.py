"""Encoded images (JPEG, PNG) in an HDF5 file, one data set each under the image's name."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np

from softvote.data.image_values import EncodedImage
from softvote.errors import UserError


class Hdf5Images:
    """Images of an HDF5 file by the names of its data sets.

    Args:
        path: of the file.

    Raises:
        UserError: h5py is missing, or it is no such file.
    """

    def __init__(self, path: Path) -> None:
        try:
            import h5py
        except ImportError:
            raise UserError.at(path, "is HDF5, which needs h5py", "install softvote[formats]") from None
        self._path = path
        try:
            self._file = h5py.File(path)
        except OSError as error:
            raise UserError.at(
                path, f"is not an HDF5 file, or is truncated ({error})", "download it again"
            ) from None

    def names(self) -> list[str]:
        """Every data set, as messages name it."""
        return [f"{self._path}:{name}" for name in self._file]

    def find(self, name: str, suffix: str = "") -> list[EncodedImage]:
        """The image of that name."""
        import h5py

        wanted = next((each for each in (name + suffix, name) if each and each in self._file), None)
        if wanted is None or not isinstance(self._file[wanted], h5py.Dataset):
            return []
        read = functools.partial(_read, self._path.absolute(), wanted)  # wherever another process works
        return [EncodedImage(f"{self._path}:{wanted}", "", read)]


def _read(path: Path, name: str) -> bytes:
    """The bytes of a data set, in whichever process asks for them."""
    value = _open(path)[name][()]
    return value.tobytes() if isinstance(value, np.ndarray | np.void) else bytes(value)


@functools.lru_cache(4)
def _open(path: Path) -> Any:
    import h5py

    return h5py.File(path)
