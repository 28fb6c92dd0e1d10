"""Image files in shards: WebDataset tar files anywhere that fsspec reaches; a machine keeps those it reads.

A competition's folder holds an index in their place, `train.shards`: a CSV of the shards' addresses and of
where in them each file lies. Which shard a machine fetches is decided by the images it asks for: with
`images: lazy` a node that trains on four fifths of the rows keeps the shards that hold them, once for all its
processes. The format is WebDataset's (Aizman, Maltby and Breuel 2019), so that others read the shards too.
"""

from __future__ import annotations

import functools
import hashlib
import io
import os
import shutil
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import pandas as pd

from softvote.data.image_values import EncodedImage
from softvote.errors import UserError
from softvote.storage.files import atomic_write
from softvote.storage.locks import file_lock

INDEX_SUFFIX = ".shards"

_COLUMNS = ["name", "shard", "offset", "bytes", "crc32"]


def write_shards(files: Sequence[Path], folder: Path, address: str, index: Path, images: int) -> list[str]:
    """Pack files into tar files and write the index of them last, so that it marks them whole.

    Args:
        files: below `folder`, in the order in which they are packed.
        folder: from which names count.
        address: of the shards, as fsspec has it (`s3://bucket/train`, `/mnt/store/train`): `-000000.tar`
            follows.
        index: the file to write, named `*.shards`.
        images: most files of a shard.

    Returns:
        The addresses of the shards.

    Raises:
        UserError: an address that cannot be written to, or a file that cannot be read.
    """
    rows, shards = list[tuple[str, str, int, int, str]](), list[str]()
    if "://" not in address:  # so that the index holds from wherever it is read
        address = str(Path(address).absolute())
    for start in range(0, len(files), images):
        shards.append(f"{address}-{len(shards):06}.tar")
        packed = _pack(files, folder, start, images, shards)
        rows += [(name, shards[-1], at, size, crc32) for name, at, size, crc32 in packed]
    with atomic_write(index) as temporary:
        pd.DataFrame(rows, columns=_COLUMNS).to_csv(temporary, index=False)
    return shards


def _pack(
    files: Sequence[Path], folder: Path, start: int, images: int, shards: Sequence[str]
) -> Iterator[tuple[str, int, int, str]]:
    """Write one shard; the name of each file in it, where its bytes begin, how many, and their CRC-32."""
    try:
        with (
            _open(shards[-1], "wb") as target,
            tarfile.open(fileobj=target, mode="w|", format=tarfile.USTAR_FORMAT) as tar,
        ):
            for path in files[start : start + images]:
                content = path.read_bytes()
                entry = tarfile.TarInfo(path.relative_to(folder).as_posix())
                entry.size = len(content)
                at = tar.offset + tarfile.BLOCKSIZE  # USTAR has one block before a file's bytes
                tar.addfile(entry, io.BytesIO(content))
                yield entry.name, at, len(content), _checksum(content)
    except (OSError, ValueError) as error:  # USTAR raises the latter where a name is too long
        raise UserError.at(shards[-1], f"cannot be written ({error})") from None


class ShardedImages:
    """Images of an index of shards by their names; none is fetched before it is read.

    Args:
        index: the file that `write_shards` wrote.

    Raises:
        UserError: it is no such file.
    """

    def __init__(self, index: Path) -> None:
        self._index = index
        try:
            table = pd.read_csv(
                index, dtype={"name": "str", "shard": "category", "crc32": "str"}, keep_default_na=False
            )
        except (OSError, ValueError) as error:
            raise UserError.at(index, f"is not an index of shards ({error})", "write it again") from None
        if list(table.columns) != _COLUMNS:
            raise UserError.at(
                index, f"is not an index of shards: it lacks {', '.join(_COLUMNS)}", "write it again"
            )
        self._table = table
        self._row_of = dict[str, list[int]]()
        for row, name in enumerate(table["name"]):
            path = Path(name)
            for key in {name, path.name, str(path.with_suffix("")), path.stem}:
                self._row_of.setdefault(key, []).append(row)

    def names(self) -> list[str]:
        """Every file, as messages name it."""
        return [f"{self._index}:{name}" for name in self._table["name"]]

    def find(self, name: str, suffix: str = "") -> list[EncodedImage]:
        """The files that a name can mean."""
        rows = next((self._row_of[key] for key in (name + suffix, name) if key in self._row_of), [])
        return [self._image(row) for row in rows]

    def _image(self, row: int) -> EncodedImage:
        name, shard, offset, size, crc32 = (self._table[column].iloc[row] for column in _COLUMNS)
        read = functools.partial(_read, str(shard), int(offset), int(size), str(crc32))
        return EncodedImage(f"{self._index}:{name}", Path(name).suffix.lower(), read)


def shards_folder() -> Path:
    """Where this machine keeps shards: SOFTVOTE_SHARDS, else a folder among the user's caches."""
    named = os.environ.get("SOFTVOTE_SHARDS")
    return Path(named) if named else Path.home() / ".cache" / "softvote" / "shards"


def _read(address: str, offset: int, size: int, crc32: str) -> bytes:
    """Some bytes of a shard, in whichever process of whichever machine asks for them."""
    path = _local(address)
    try:
        file = _opened(path)  # by a name: another thread may put it out of the cache, which closes it
        content = os.pread(file.fileno(), size, offset)
    except OSError as error:
        raise UserError.at(path, f"cannot be read ({error.strerror})", "write the shards again") from None
    if _checksum(content) != crc32:
        what = "is not what its index says"
        if path == Path(address):
            raise UserError.at(address, what, "write the shards again")
        raise UserError.at(address, what, f"if they were written again, remove {path}; else write them again")
    return content


def _checksum(content: bytes) -> str:
    return f"{zlib.crc32(content):08x}"


@functools.lru_cache(256)
def _opened(path: Path) -> IO[bytes]:
    return path.open("rb")


@functools.lru_cache(None)
def _local(address: str) -> Path:
    """The shard on this machine, fetched if it is not there; where it lies on a disk, it stays there.

    Raises:
        UserError: it cannot be fetched.
    """
    if "://" not in address:
        return Path(address)
    path = shards_folder() / f"{hashlib.sha256(address.encode()).hexdigest()[:32]}.tar"
    path.parent.mkdir(parents=True, exist_ok=True)
    with file_lock(path):
        if not path.exists():
            try:
                with (
                    _open(address, "rb") as source,
                    atomic_write(path) as temporary,
                    temporary.open("wb") as target,
                ):
                    shutil.copyfileobj(source, target, 1 << 22)
            except OSError as error:
                raise UserError.at(address, f"cannot be fetched ({error})") from None
    return path


def _open(address: str, mode: str) -> IO[Any]:
    """A shard to be read or written.

    Raises:
        UserError: fsspec does not know its protocol, or lacks the package of it.
        OSError: it cannot be reached.
    """
    import fsspec

    if "://" not in address:
        Path(address).parent.mkdir(parents=True, exist_ok=True)
    try:
        file: IO[Any] = fsspec.open(address, mode).open()
    except (ImportError, ValueError) as error:  # a package is missing, or there is no such protocol
        raise UserError.at(address, f"cannot be opened ({error})") from None
    return file
