"""A competition's zip into its input folder: nothing outside it, whole or not at all."""

from __future__ import annotations

import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from softvote.config.schema import checked_name
from softvote.errors import UserError
from softvote.storage.files import atomic_directory
from softvote.storage.paths import Workspace

_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)


ArchiveMembers = dict[PurePosixPath, zipfile.ZipInfo]


def unpack(zip_path: Path, workspace: Workspace, name: str | None = None) -> Path:
    """Unpack a zip file into `input/<name>`; zip files inside it stay as they are.

    A single folder that holds everything else is left out. Where the same content lies already,
    nothing is written.

    Args:
        name: the competition's; left out, the zip file's without its suffix.

    Returns:
        The folder.

    Raises:
        UserError: no zip file, a damaged one, one that would write elsewhere, or other content there.
    """
    try:
        folder = workspace.input(checked_name(name or zip_path.stem))
    except ValueError as error:
        raise UserError.at(zip_path, f"{error}, or pass `name`") from None
    with _opened(zip_path) as archive:
        members = _without_common_folder(_members(archive, zip_path))
        if folder.is_dir() and any(folder.iterdir()):
            _compare(folder, members, zip_path)
        else:
            _extract(archive, members, folder, zip_path)
    return folder


def _opened(zip_path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(zip_path)
    except OSError as error:
        raise UserError.at(
            zip_path, f"cannot be read ({error.strerror})", "give the path of the zip file"
        ) from None
    except _DAMAGED:
        raise UserError.at(zip_path, "is no zip file, or is cut off", "download it again") from None


def _members(archive: zipfile.ZipFile, zip_path: Path) -> ArchiveMembers:
    """The files in the zip under their paths, without those that macOS adds."""
    members: ArchiveMembers = {}
    for info in archive.infolist():
        path = PurePosixPath(info.filename.replace("\\", "/"))
        if info.is_dir() or path.parts[:1] == ("__MACOSX",) or path.name == ".DS_Store":
            continue
        linked = stat.S_ISLNK(info.external_attr >> 16)
        if path.is_absolute() or ".." in path.parts or ":" in path.parts[0] or linked:
            raise UserError.at(zip_path, f"'{info.filename}' would leave the folder", "nothing was unpacked")
        if path in members:
            raise UserError.at(zip_path, f"holds '{info.filename}' twice", "nothing was unpacked")
        members[path] = info
    if not members:
        raise UserError.at(zip_path, "holds no files", "download it again")
    return members


def _without_common_folder(members: ArchiveMembers) -> ArchiveMembers:
    if len({path.parts[0] for path in members}) > 1 or any(len(path.parts) == 1 for path in members):
        return members
    return {PurePosixPath(*path.parts[1:]): info for path, info in members.items()}


def _extract(archive: zipfile.ZipFile, members: ArchiveMembers, folder: Path, zip_path: Path) -> None:
    try:
        with atomic_directory(folder) as temporary:
            for path, info in members.items():
                target = temporary / path
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(info) as source, target.open("wb") as file:
                    shutil.copyfileobj(source, file, 1 << 20)
    except _DAMAGED as error:
        raise UserError.at(zip_path, f"is damaged ({error})", "download it again") from None
    except OSError as error:
        raise UserError.at(folder, f"cannot be written ({error.strerror or error})") from None


def _compare(folder: Path, members: ArchiveMembers, zip_path: Path) -> None:
    """Raise unless the folder holds the zip's files and no others."""
    there = {PurePosixPath(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    other = sorted(there ^ members.keys()) or [
        path for path, info in members.items() if not _same(folder / path, info)
    ]
    if other:
        what = f"already there and differs from {zip_path.name} in {other[0]}"
        raise UserError.at(folder, what, "remove the folder to unpack anew, or pass another `name`")


def _same(path: Path, info: zipfile.ZipInfo) -> bool:
    if path.stat().st_size != info.file_size:
        return False
    checksum = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            checksum = zlib.crc32(block, checksum)
    return checksum == info.CRC
