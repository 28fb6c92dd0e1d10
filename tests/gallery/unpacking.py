"""What is in a download, archives within archives included, without anything of softvote."""

from __future__ import annotations

import io
import re
import tarfile
import zipfile
from pathlib import Path, PurePosixPath


def files_in(archive: Path) -> dict[str, bytes]:
    """The content of every file by its name, as a person would unpack them; archives with a password are
    left out."""
    return _unpack(archive.name, archive.read_bytes())


def _unpack(name: str, content: bytes) -> dict[str, bytes]:
    if name.endswith(".zip"):
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            inside = {entry: file.read(entry) for entry in file.namelist()}
    elif name.endswith(".tar"):
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            entries = [entry for entry in tar.getmembers() if entry.isfile()]
            inside = {entry.name: tar.extractfile(entry).read() for entry in entries}  # type: ignore[union-attr]
    elif name.endswith(".7z"):
        inside = _in_7z(content)
    else:
        return {name: content}
    found: dict[str, bytes] = {}
    for entry, part in _whole(inside).items():
        found |= _unpack(entry, part)
    return found


def _in_7z(content: bytes) -> dict[str, bytes]:
    import py7zr
    from py7zr.io import BytesIOFactory

    with py7zr.SevenZipFile(io.BytesIO(content)) as file:
        if file.needs_password():
            return {}
        factory = BytesIOFactory(limit=1 << 30)
        file.extractall(factory=factory)
        return {name: product.read() for name, product in factory.products.items()}


def _whole(files: dict[str, bytes]) -> dict[str, bytes]:
    """`train.zip.001`, `train.zip.002` and so on as one file."""
    found: dict[str, bytes] = {}
    for name, content in sorted(files.items()):
        whole = str(PurePosixPath(re.sub(r"\.\d{3}$", "", name)))
        found[whole] = found.get(whole, b"") + content
    return found
