"""A competition's download into its input folder, with the archives in it; whole or not at all."""

from __future__ import annotations

import filecmp
import re
import shutil
import tempfile
import zlib
from collections import defaultdict
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from zipfile import ZipInfo

from softvote.config.schema import check_name
from softvote.data.archive_formats import (
    ARCHIVES,
    ArchiveMembers,
    LockedArchiveError,
    archive_suffix,
    open_zip,
    write_zip_members,
    zip_members,
)
from softvote.data.readers.detection import is_for
from softvote.errors import UserError
from softvote.storage.files import atomic_directory
from softvote.storage.paths import ASKED_FILES, Workspace

_DEEPEST = 5  # archives within archives; more is made to do harm


_TEMPORARY = ".unpack-"


_PART = re.compile(r"(.+)\.(\d{3})")  # train.zip.001


TABLE_SUFFIXES = (".csv", ".tsv", ".json", ".txt", ".md", ".parquet", ".npy", ".npz", ".hdf5", ".h5", ".xlsx")
"""Ends of names of files that are not one of many images, in small letters."""


def unpack(path: Path, workspace: Workspace, name: str | None = None) -> Path:
    """Unpack a download into `input/<name>`, and the archives in it.

    A single folder around everything else is left out, unless its name says that it is for training or
    testing. An archive within becomes a folder of its name beside which it lay, or the folder or the table
    that is all it holds. One that needs a password or a library that is missing stays as it is. Where the
    same content lies already, nothing is written.

    Args:
        path: a zip, tar or 7z.
        name: the competition's; if omitted, the file's without its suffix.

    Returns:
        The folder.

    Raises:
        UserError: no archive, a damaged one, one that would write elsewhere, or other content there.
    """
    suffix = archive_suffix(path) or ".zip"
    try:
        folder = workspace.input(check_name(name or path.name[: -len(suffix)]))
    except ValueError as error:
        raise UserError.at(path, f"{error}, or pass `name`") from None
    there = folder.is_dir() and any(folder.iterdir())
    if suffix == ".zip" and _unpack_plain_zip(path, folder, there):
        return folder
    if there:
        with tempfile.TemporaryDirectory(prefix=_TEMPORARY, dir=workspace.inputs) as temporary:
            content = Path(temporary, "content")
            content.mkdir()
            _unpack_all(path, content, suffix)
            _compare_trees(folder, content, path)
    else:
        try:
            with atomic_directory(folder) as content:
                _unpack_all(path, content, suffix)
        except OSError as error:
            raise UserError.at(folder, f"cannot be written ({error.strerror or error})") from None
    return folder


def raw_files(folder: Path) -> list[Path]:
    """Every file of a competition, by path."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != ASKED_FILES)


def packed_files(folder: Path) -> list[Path]:
    """Archives that lie in a folder as they came, by path."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and _is_archive(path))


def _is_archive(path: Path) -> bool:
    part = _PART.fullmatch(path.name)
    return archive_suffix(Path(part[1]) if part else path) is not None


def _unpack_plain_zip(path: Path, folder: Path, there: bool) -> bool:
    """Unpack or compare a zip that holds no archives, file by file; False where it holds some."""
    with open_zip(path) as archive:
        members = zip_members(archive, path)
        tops = {place.parts[0] for place in members}
        if all(len(place.parts) > 1 for place in members) and _is_around_everything(tops, path):
            members = {PurePosixPath(*place.parts[1:]): info for place, info in members.items()}
        if any(_is_archive(Path(place)) for place in members):
            return False
        if there:
            _compare(folder, members, path)
            return True
        try:
            with atomic_directory(folder) as temporary:
                write_zip_members(archive, members, temporary, path)
        except OSError as error:
            raise UserError.at(folder, f"cannot be written ({error.strerror or error})") from None
    return True


def _is_around_everything(tops: Collection[str], download: Path) -> bool:
    """Whether a download is one folder that means nothing; one named `train` says whose its files are.

    Args:
        tops: names of what lies at the top of the download.
    """
    if len(tops) != 1:
        return False
    [name] = tops
    suffix = archive_suffix(download) or ".zip"
    is_split = is_for("train", name) or is_for("test", name)
    return not is_split or name == download.name[: -len(suffix)]


def _compare(folder: Path, members: ArchiveMembers, zip_path: Path) -> None:
    """Raise unless the folder holds the zip's files and no others."""
    there = {PurePosixPath(path.relative_to(folder)) for path in raw_files(folder)}
    other = sorted(there ^ members.keys()) or [
        path for path, info in members.items() if not _same(folder / path, info)
    ]
    if other:
        raise _differs(folder, other[0], zip_path)


def _differs(folder: Path, place: PurePosixPath, download: Path) -> UserError:
    what = f"already there and differs from {download.name} in {place}"
    return UserError.at(folder, what, "remove the folder to unpack it again, or pass another `name`")


def _same(path: Path, info: ZipInfo) -> bool:
    if path.stat().st_size != info.file_size:
        return False
    checksum = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            checksum = zlib.crc32(block, checksum)
    return checksum == info.CRC


def _compare_trees(folder: Path, content: Path, download: Path) -> None:
    """Raise unless both folders hold the same files."""
    there, unpacked = (
        {PurePosixPath(path.relative_to(top)) for path in raw_files(top)} for top in (folder, content)
    )
    other = sorted(there ^ unpacked) or [
        place for place in unpacked if not filecmp.cmp(folder / place, content / place, shallow=False)
    ]
    if other:
        raise _differs(folder, other[0], download)


def _unpack_all(path: Path, folder: Path, suffix: str) -> None:
    """A download and the archives in it, into a folder that is there and empty."""
    _extract_whole(path, folder, suffix)
    unpack_inner(folder, path, folder)


def unpack_inner(folder: Path, path: Path, root: Path) -> None:
    """Unpack the archives in a folder, each beside where it lies; goes on where a run was stopped or killed.

    Args:
        path: what they came in, by its name in errors.
        root: the folder whose only content becomes the folder's own; a parent of it for none.

    Raises:
        UserError: an archive is damaged or unsafe, or archives lie within archives too deep.
    """
    _undo_unfinished(folder)
    locked = set[Path]()
    for _ in range(_DEEPEST):
        _join_parts(folder)
        inner = [found for found in packed_files(folder) if found not in locked and _can_unpack(found)]
        if not inner:
            return
        for archive in inner:
            try:
                _unpack_beside(archive, root)
            except LockedArchiveError:
                locked.add(archive)  # the others are of use without it
            except UserError as error:
                problem = error.problems[0]
                where = problem.where.replace(str(folder), path.name)
                raise type(error).at(where, problem.what, problem.hint) from None
    raise UserError.at(path, f"holds archives within archives, {_DEEPEST} deep", "nothing was unpacked")


def _undo_unfinished(folder: Path) -> None:
    """Put back the archives whose files were being moved when a run was killed."""
    for temporary in sorted(folder.rglob(f"{_TEMPORARY}*")):
        for archive in filter(Path.is_file, list(temporary.iterdir())):
            archive.rename(temporary.with_name(archive.name))
        shutil.rmtree(temporary)


def _can_unpack(archive: Path) -> bool:
    """Whether the library is there that its kind needs; else it stays packed, which is said."""
    if archive_suffix(archive) != ".7z":
        return archive_suffix(archive) is not None
    try:
        import py7zr  # noqa: F401
    except ImportError:
        return False
    return True


def _extract_whole(path: Path, folder: Path, suffix: str) -> None:
    """Extract into the folder; a single folder around everything else is left out."""
    ARCHIVES[suffix](path, folder)
    tops = list(folder.iterdir())
    if all(top.is_dir() for top in tops) and _is_around_everything([top.name for top in tops], path):
        alone = tops[0].rename(folder / f".{tops[0].name}.alone")
        for found in list(alone.iterdir()):
            found.rename(folder / found.name)
        alone.rmdir()


def _join_parts(folder: Path) -> None:
    """Put train.zip.001, train.zip.002, ... together again."""
    parts: dict[Path, list[tuple[int, Path]]] = defaultdict(list)
    for path in packed_files(folder):
        if part := _PART.fullmatch(path.name):
            parts[path.with_name(part[1])].append((int(part[2]), path))
    for whole, numbered in parts.items():
        numbered.sort()
        first = numbered[0][0]
        if [number for number, _ in numbered] != list(range(first, first + len(numbered))) or first > 1:
            raise UserError.at(whole, "lacks one of its parts", "download it again")
        with whole.open("wb") as file:
            for _, path in numbered:
                with path.open("rb") as source:
                    shutil.copyfileobj(source, file, 1 << 20)
                path.unlink()


def _unpack_beside(archive: Path, root: Path) -> None:
    """Replace an archive by what it holds."""
    suffix = archive_suffix(archive)
    assert suffix, "only archives are unpacked"
    with tempfile.TemporaryDirectory(prefix=_TEMPORARY, dir=archive.parent) as temporary:
        content = Path(temporary, "content")
        content.mkdir()
        ARCHIVES[suffix](archive, content)
        stem, only = archive.name[: -len(suffix)], [archive] == [*_others(root, Path(temporary))]
        archive.rename(Path(temporary, archive.name))  # from where it can be put back
        source, target = _destination(content, archive.parent, stem, root if only else None)
        _merge(source, target, archive)


def _others(root: Path, temporary: Path) -> list[Path]:
    return [path for path in root.iterdir() if path != temporary]


def _destination(content: Path, beside: Path, stem: str, whole: Path | None) -> tuple[Path, Path]:
    """What is moved where: a lone table beside the archive, a lone folder too, all else into one of its name.

    Args:
        whole: the folder itself, where the archive was all that lay in it.
    """
    files = [path for path in content.rglob("*") if path.is_file()]
    if len(files) == 1 and (_is_archive(files[0]) or files[0].suffix.lower() in TABLE_SUFFIXES):
        return files[0], beside / files[0].name
    tops = list(content.iterdir())
    if len(tops) == 1 and tops[0].is_dir():
        return tops[0], beside / tops[0].name
    return content, whole or beside / stem


def _merge(source: Path, target: Path, archive: Path) -> None:
    """Move a file or a folder's files; what is there already must be the same."""
    if source.is_dir():
        if target.is_file():
            raise UserError.at(archive, f"'{target.name}' is already a file", "unpack it by hand")
        target.mkdir(exist_ok=True)
        for found in sorted(source.iterdir()):
            _merge(found, target / found.name, archive)
    elif not target.exists():
        source.rename(target)
    elif target.is_dir() or not filecmp.cmp(source, target, shallow=False):
        raise UserError.at(
            archive, f"'{target.name}' is already there with other content", "unpack it by hand"
        )
