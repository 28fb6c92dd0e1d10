"""How each kind of archive is opened and its files are written below a folder, and nowhere else."""

from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import IO, Any

from softvote.config.registry import Registry
from softvote.errors import UserError

DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError)
"""What the libraries raise of an archive that is not whole."""


_TAR_BLOCK = 512


class LockedArchiveError(UserError):
    """An archive that only a password opens."""


class NoRoomError(UserError):
    """An archive whose files would fill the disk; it may be whole."""


ArchiveMembers = dict[PurePosixPath, zipfile.ZipInfo]


Extract = Callable[[Path, Path], None]
"""(archive, folder) writes the archive's files below the folder, which is there and empty; raises a UserError
for a damaged one, or one that would write elsewhere, and OSError."""


ARCHIVES: Registry[Extract] = Registry()
"""How archives are unpacked, by the end of their names."""


def archive_suffix(path: Path) -> str | None:
    """Which of the known ends the name has, the longest; None where it is not an archive."""
    fits = [suffix for suffix in ARCHIVES if path.name.lower().endswith(suffix)]
    return max(fits, key=len, default=None)


def open_zip(path: Path) -> zipfile.ZipFile:
    """Open a zip file.

    Raises:
        UserError: it cannot be read, or is none.
    """
    try:
        return zipfile.ZipFile(path)
    except OSError as error:
        raise UserError.at(
            path, f"cannot be read ({error.strerror})", "give the path of the zip file"
        ) from None
    except DAMAGED:
        raise UserError.at(path, "is not a zip file, or is truncated", "download it again") from None


def zip_members(archive: zipfile.ZipFile, path: Path) -> ArchiveMembers:
    """The files in a zip under their paths, without those that macOS adds.

    Raises:
        UserError: there are none, or one that is a link, lies outside the folder or stands twice.
    """
    members: ArchiveMembers = {}
    for info in archive.infolist():
        place = _place(info.filename, path, stat.S_ISLNK(info.external_attr >> 16))
        if info.is_dir() or _is_of_macos(place):
            continue
        _refuse_twice(place, members, path)
        members[place] = info
    if not members:
        raise UserError.at(path, "holds no files", "download it again")
    return members


def write_zip_members(
    archive: zipfile.ZipFile, members: ArchiveMembers, folder: Path, zip_path: Path
) -> None:
    """Write files of a zip below a folder.

    Raises:
        UserError: the zip is damaged, or there is no room.
        OSError: the folder cannot be written.
    """
    if any(info.flag_bits & 0x1 for info in members.values()):
        raise _locked_error(zip_path)
    check_room(zip_path, sum(info.file_size for info in members.values()), folder)
    try:
        for place, info in members.items():
            with archive.open(info) as source:
                _write(source, folder / place)
    except DAMAGED as error:
        raise _damaged_error(zip_path, error) from None


def check_room(path: Path, size: int, folder: Path) -> None:
    """Refuse an archive whose files would fill the disk.

    Raises:
        NoRoomError: they would.
    """
    free = shutil.disk_usage(folder).free
    if size > free:
        raise NoRoomError.at(path, f"needs {size:,} bytes, {free:,} are free", "free some disk space")


def _place(name: str, path: Path, is_link: bool) -> PurePosixPath:
    """Where a member goes, as a path below the folder."""
    place = PurePosixPath(name.replace("\\", "/"))
    if place.is_absolute() or ".." in place.parts or ":" in "".join(place.parts[:1]) or is_link:
        raise UserError.at(path, f"'{name}' points outside the folder", "nothing was unpacked")
    return place


def _is_of_macos(place: PurePosixPath) -> bool:
    return place.parts[:1] == ("__MACOSX",) or place.name == ".DS_Store" or place.name.startswith("._")


def _refuse_twice(place: PurePosixPath, there: Iterable[PurePosixPath], path: Path) -> None:
    if place in there:
        raise UserError.at(path, f"holds '{place}' twice", "nothing was unpacked")


def _write(source: IO[bytes], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        shutil.copyfileobj(source, file, 1 << 20)


def _locked_error(path: Path) -> LockedArchiveError:
    return LockedArchiveError.at(path, "has a password", "unpack it by hand")


def _damaged_error(path: Path, error: Exception) -> UserError:
    reason = str(error).partition("\n")[0] or type(error).__name__
    return UserError.at(path, f"is damaged ({reason})", "download it again")


def _extract_zip(path: Path, folder: Path) -> None:
    with open_zip(path) as archive:
        write_zip_members(archive, zip_members(archive, path), folder, path)


def _extract_tar(path: Path, folder: Path) -> None:
    written: set[PurePosixPath] = set()
    try:
        with tarfile.open(path) as archive:
            for info in archive:
                place = _place(info.name, path, info.islnk() or info.issym())
                if info.isdir() or _is_of_macos(place):
                    continue
                if not info.isfile():
                    raise UserError.at(path, f"'{info.name}' is not a file", "nothing was unpacked")
                _refuse_twice(place, written, path)
                source = archive.extractfile(info)
                assert source, "a file has content"
                _write(source, folder / place)
                written.add(place)
            end = archive.offset
    except (tarfile.TarError, *DAMAGED, gzip.BadGzipFile) as error:
        raise _damaged_error(path, error) from None
    if path.name.lower().endswith(".tar") and _bytes_at(path, end) != bytes(_TAR_BLOCK):
        raise UserError.at(path, "is truncated", "download it again")  # which tarfile takes for its end


def _bytes_at(path: Path, offset: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(_TAR_BLOCK)


def _extract_one(opener: Callable[[Path], Any]) -> Extract:
    """A single file, compressed: the archive's name without its end."""

    def extract(path: Path, folder: Path) -> None:
        try:
            with opener(path) as source:
                _write(source, folder / path.stem)
        except (*DAMAGED, gzip.BadGzipFile) as error:
            raise _damaged_error(path, error) from None
        except OSError as error:
            if error.errno is None:  # bz2 says so of content that is none of its own
                raise _damaged_error(path, error) from None
            raise

    return extract


def _extract_7z(path: Path, folder: Path) -> None:
    try:
        import py7zr
    except ImportError:
        raise UserError.at(
            path, "is 7z, which needs py7zr", "install softvote[formats], or unpack it with: 7z x"
        ) from None
    errors = (py7zr.exceptions.ArchiveError, ValueError, *DAMAGED)
    written: set[PurePosixPath] = set()
    try:
        with py7zr.SevenZipFile(path) as archive:
            infos = archive.list()
            for info in infos:
                place = _place(info.filename, path, not (info.is_directory or info.is_file))
                if info.is_file:
                    _refuse_twice(place, written, path)
                    written.add(place)
            check_room(path, sum(info.uncompressed or 0 for info in infos), folder)
            archive.extractall(folder)
    except py7zr.exceptions.PasswordRequired:
        raise _locked_error(path) from None
    except py7zr.exceptions.AbsolutePathError as error:
        raise UserError.at(path, f"points outside the folder ({error})", "nothing was unpacked") from None
    except errors as error:
        raise _damaged_error(path, error) from None
    for place in filter(_is_of_macos, written):
        with suppress(FileNotFoundError):
            (folder / place).unlink()


ARCHIVES.add(".zip", _extract_zip)
for _suffix in (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz"):
    ARCHIVES.add(_suffix, _extract_tar)
ARCHIVES.add(".7z", _extract_7z)
ARCHIVES.add(".gz", _extract_one(gzip.open))
ARCHIVES.add(".bz2", _extract_one(bz2.open))
ARCHIVES.add(".xz", _extract_one(lzma.open))
