"""Downloads from Kaggle: competitions and data sets, whole or single files, that go on where they stopped.

The package itself fetches: it asks for the rest of a file (a range) where the connection broke, a few times,
and notes beside the file what it is a part of, so that a later run goes on too if Kaggle's file is the same.
"""

from __future__ import annotations

import contextlib
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from softvote.errors import UserError, one_of
from softvote.kaggle.sources import Source, remedies_of
from softvote.kaggle.transport import AGAIN, PAGE_SIZE, PROGRESS_BAR, Client, RefusedError
from softvote.progress import note

_PART = ".kaggle-partial"  # the package's suffix for what it notes beside a part of a file

_MOST_PAGES = 50  # of names that are looked at


@dataclass(frozen=True)
class RemoteFile:
    """A file as Kaggle lists it: its name, with the folders that it lies in, and its bytes."""

    name: str
    size: int


class Downloads(Client):
    """Fetches what Kaggle hands out; see `Client` for whose, and for what goes wrong."""

    def download(self, source: Source, folder: Path) -> Path:
        """Fetch all of a competition or data set as one zip, and verify its checksums.

        The only file of a competition comes bare from Kaggle; it is put into a zip.

        Args:
            folder: for it alone; a part of an earlier try that lies there is gone on with.

        Returns:
            A zip in `folder`.

        Raises:
            UserError: what came is damaged, and is removed; or it did not come whole, and is gone on with
                the next time.
        """
        doing = f"downloading {source.slug}"

        def fetch() -> None:
            if source.is_dataset:
                self._api.dataset_download_files(source.slug, str(folder), quiet=_is_quiet())
            else:
                self._api.competition_download_files(source.slug, str(folder), quiet=_is_quiet())

        path = self._fetch_into(folder, doing, source, fetch)
        if not zipfile.is_zipfile(path) and len(names := [file.name for file in self.files(source)]) == 1:
            return _zip(path, names[0])
        _check_zip(path, f"Kaggle, {doing}", source)
        return path

    def download_file(self, source: Source, name: str, folder: Path) -> Path:
        """Fetch one file; what Kaggle wraps in a zip on the way is unwrapped, which verifies it.

        Args:
            name: as Kaggle lists it, with the folders that it lies in.
            folder: for this file alone.

        Returns:
            `folder`/`name`.

        Raises:
            UserError: also where there is no such file, with those that there are.
        """
        doing = f"downloading {name} of {source.slug}"

        def fetch() -> None:
            get = (
                self._api.dataset_download_file if source.is_dataset else self._api.competition_download_file
            )
            get(source.slug, name, str(folder), quiet=_is_quiet(), unzip=True)

        try:
            return self._fetch_into(folder, doing, source, fetch)
        except RefusedError as refused:
            known = [file.name for file in self.files(source)] if refused.status == 404 else [name]
            if name not in known:
                raise UserError.at(source.slug, f"has no file {name!r}", one_of(known, name)) from None
            raise

    def files(self, source: Source) -> Iterator[RemoteFile]:
        """The files of a competition or data set, as far as they are asked for; the first thousand."""
        token = ""
        for _ in range(_MOST_PAGES):
            answer = self._list_files(source, token)
            for file in answer.dataset_files if source.is_dataset else answer.files:
                yield RemoteFile(file.name, file.total_bytes)
            token = answer.next_page_token
            if not token:
                return

    def _list_files(self, source: Source, token: str) -> Any:
        listing = self._api.dataset_list_files if source.is_dataset else self._api.competition_list_files
        return self._ask(
            f"listing the files of {source.slug}",
            remedies_of(source),
            lambda: listing(source.slug, page_token=token or None, page_size=PAGE_SIZE),
        )

    def _fetch_into(self, folder: Path, doing: str, source: Source, fetch: Callable[[], object]) -> Path:
        """Let the package fetch into a folder for this file alone; the file."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError.at(folder, f"cannot be written ({error.strerror})") from None
        if size := sum(path.stat().st_size for path in _files(folder) if _mark_of(path).exists()):
            note(f"{doing}: an earlier run fetched {size:,} bytes")
        try:
            self._ask(doing, remedies_of(source), fetch, shown=True)
        finally:
            for path in _files(folder):  # of nothing, no part is kept
                if not path.stat().st_size and _mark_of(path).exists():
                    path.unlink()
            _remove_marks_of_nothing(folder)
        [path] = _files(folder)
        return path


def _is_quiet() -> bool:
    return not (sys.__stderr__ and sys.__stderr__.isatty())


def _files(folder: Path) -> list[Path]:
    """What was fetched, whole or in part."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != _PART)


def _mark_of(path: Path) -> Path:
    return path.with_name(path.name + _PART)


def _remove_marks_of_nothing(folder: Path) -> None:
    for mark in folder.rglob(f"*{_PART}"):
        if not mark.with_name(mark.name.removesuffix(_PART)).exists():
            mark.unlink()


def _zip(path: Path, name: str) -> Path:
    """A file in a zip of its own, in its place."""
    packed = path.with_name(f".{path.name}.tmp.zip")
    with zipfile.ZipFile(packed, "w") as archive:
        archive.write(path, name)
    path.unlink()
    return packed.rename(path.with_suffix(".zip"))


def _check_zip(path: Path, where: str, source: Source) -> None:
    """Raise for a zip whose checksums are not right, and remove it: it is to be fetched anew."""
    remedy = f"{AGAIN}, or download it by hand from {source.page}{'' if source.is_dataset else '/data'}"
    size, at = path.stat().st_size, ""
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
            total = sum(info.file_size for info in infos)
            with tqdm(total=total, desc="verifying", **PROGRESS_BAR) as bar:
                for info in infos:
                    at = info.filename
                    # What Python cannot read (Deflate64, a password) is told when it is unpacked.
                    with contextlib.suppress(NotImplementedError, RuntimeError), archive.open(info) as file:
                        while block := file.read(1 << 20):
                            bar.update(len(block))
    except (zipfile.BadZipFile, zlib.error, EOFError):
        path.unlink()
        what = f"{at} came damaged" if at else f"the {size:,} bytes that came are not a whole zip file"
        raise UserError.at(where, what, remedy) from None
