"""Download: from Kaggle into a folder of input/, going on where an earlier try stopped."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath

from softvote.data.archive_formats import NoRoomError, archive_suffix
from softvote.data.archives import unpack, unpack_inner
from softvote.errors import ErrorCollector, UserError
from softvote.kaggle.downloads import Downloads
from softvote.kaggle.sources import Source
from softvote.kaggle.transport import PAGE_SIZE
from softvote.progress import note
from softvote.storage.files import (
    atomic_directory,
    read_json,
    remove_folder,
    remove_if_exists,
    write_json,
    write_text,
)
from softvote.storage.locks import try_lock
from softvote.storage.paths import Workspace

_MUCH = 1_000_000_000  # bytes of which no second copy, packed in a zip, is made


def download_whole(workspace: Workspace, source: Source, name: str) -> Path:
    """Download a competition or data set into `input/<name>`, whole or not at all.

    It comes as one zip, which has checksums; where it is much and in few files, they come one by one
    straight to where they stay.
    """
    client = Downloads()
    files = list(islice(client.files(source), PAGE_SIZE + 1))
    with _claim(workspace, source) as place:
        if len(files) > PAGE_SIZE or sum(file.size for file in files) < _MUCH:
            return unpack(client.download(source, place / "whole"), workspace, name)
        folder, content = workspace.input(name), place / "content"
        _fetch_each(client, source, [file.name for file in files], place, content)
        with atomic_directory(folder) as temporary:
            for path in list(content.iterdir()):
                path.rename(temporary / path.name)
        return folder


def download_files(workspace: Workspace, source: Source, folder: Path, names: Sequence[str]) -> str:
    """Download files of a competition or data set beside what is in its folder; what is to be said of it.

    Those that are there are left as they are, archives among the others are unpacked.

    Raises:
        UserError: no such file, or other content is there already.
    """
    problems = ErrorCollector()
    for name in names:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            problems.add(name, "points outside the folder", "write it as Kaggle lists it")
    problems.raise_any()
    asked, is_new = workspace.asked_files(folder.name), not (folder.is_dir() and any(folder.iterdir()))
    before = [] if is_new else _read_asked(asked, source)
    missing = [name for name in dict.fromkeys(names) if not _is_there(name, before, folder)]
    if missing:
        with _claim(workspace, source) as place:
            content = place / "content"
            _fetch_each(Downloads(), source, missing, place, content)
            _move(content, folder)
            if is_new or asked.is_file():
                _write_asked(asked, source, [*before, *missing])
    there = [name for name in names if name not in missing]
    kept = f"{', '.join(there)} already there; " if there else ""
    how = "ask without naming files" if asked.is_file() else "remove the folder"
    return f"{kept}these files alone were asked for, {how} to get all of {source.slug}"


def download_rest(workspace: Workspace, source: Source, folder: Path) -> str:
    """Download what `download_files` was not asked for; what is to be said of it.

    Raises:
        UserError: they are too many to come one by one; what is there, and what is not.
    """
    asked, client = workspace.asked_files(folder.name), Downloads()
    before = _read_asked(asked, source)
    missing = [file.name for file in client.files(source) if not _is_there(file.name, before, folder)]
    if len(missing) > PAGE_SIZE:
        raise UserError.at(
            folder,
            f"holds only what was asked for alone, {', '.join(before)}, and lacks {len(missing):,} files, "
            f"as {', '.join(missing[:3])}",
            f"remove the folder to get all of {source.slug} at once",
        )
    if missing:
        with _claim(workspace, source) as place:
            content = place / "content"
            _fetch_each(client, source, missing, place, content)
            _move(content, folder)
    remove_if_exists(asked)
    return f"{', '.join(before)} already there; fetched the rest, {', '.join(missing) or 'nothing'}"


def _is_there(name: str, before: Sequence[str], folder: Path) -> bool:
    """Whether a file was fetched; an archive is gone when it is unpacked."""
    return (folder / name).exists() or (name in before and archive_suffix(Path(name)) is not None)


def _read_asked(path: Path, source: Source) -> list[str]:
    """The files that were asked for alone."""
    found = read_json(path)
    if not found:
        return []
    if found["source"] != source.slug:
        raise UserError.at(path.parent, f"holds files of {found['source']}", "pass another `name`")
    return [str(name) for name in found["files"]]


def _write_asked(path: Path, source: Source, names: Sequence[str]) -> None:
    write_json(path, {"source": source.slug, "files": list(dict.fromkeys(names))})


@contextlib.contextmanager
def _claim(workspace: Workspace, source: Source) -> Iterator[Path]:
    """The place of a download, which no other run writes to; it goes when all went well."""
    workspace.inputs.mkdir(parents=True, exist_ok=True)
    place, lock = workspace.download(source.slug), workspace.download_lock(source.slug)
    with try_lock(lock) as mine:
        if not mine:
            raise UserError.at(source.slug, "another run is downloading it", "wait for it")
        try:
            yield place
        except BaseException:
            _keep_parts(place, lock)
            raise
        remove_folder(place)
        _remove_lock(lock)


def _keep_parts(place: Path, lock: Path) -> None:
    """Leave nothing but what a next try goes on with."""
    for folder in sorted((path for path in place.rglob("*") if path.is_dir()), reverse=True):
        with contextlib.suppress(OSError):  # not empty
            folder.rmdir()
    with contextlib.suppress(OSError):
        place.rmdir()
    if not place.exists():
        _remove_lock(lock)


def _remove_lock(lock: Path) -> None:
    with contextlib.suppress(OSError):  # another run may be about to take it
        lock.unlink()
        lock.parent.rmdir()


def _fetch_each(client: Downloads, source: Source, names: Sequence[str], place: Path, content: Path) -> None:
    """Fetch files into `content`, with the archives among them unpacked; those that are there stay.

    What was fetched is not fetched again where there was no room to unpack it, or somebody stopped that,
    if Kaggle still lists it with as many bytes.
    """
    done, named = place / "done", place / "names.txt"
    began = done.is_dir() or content.is_dir()
    sizes = {file.name: file.size for file in client.files(source)} if began else {}
    _drop_others(done, names, sizes)
    wanted = _inventory(names, sizes)
    if not (content.is_dir() and named.is_file() and named.read_text(encoding="utf-8") == wanted):
        for name in names:
            if not (done / name).exists():
                path = client.download_file(source, name, place / "files" / name)
                (done / name).parent.mkdir(parents=True, exist_ok=True)
                path.rename(done / name)
        shutil.rmtree(content, ignore_errors=True)
        write_text(named, _inventory(names, {name: (done / name).stat().st_size for name in names}))
        done.rename(content)
    try:
        unpack_inner(content, Path(source.name), place)
    except NoRoomError:
        raise
    except UserError:
        shutil.rmtree(content, ignore_errors=True)
        remove_if_exists(named)
        raise


def _inventory(names: Sequence[str], sizes: Mapping[str, int]) -> str:
    """Files and their bytes, a line each."""
    return "\n".join(f"{sizes.get(name)} {name}" for name in names)


def _drop_others(done: Path, names: Sequence[str], sizes: Mapping[str, int]) -> None:
    """Remove what an earlier run fetched and nobody asks for, or Kaggle lists otherwise by now."""
    for path in sorted(path for path in done.rglob("*") if path.is_file()):
        name, size = path.relative_to(done).as_posix(), path.stat().st_size
        listed = sizes.get(name, size)
        if name in names and listed == size:
            continue
        if name in names:
            what = f"an earlier run fetched {size:,} bytes, Kaggle lists {listed:,} by now"
            note(f"{name}: {what}; it is fetched again")
        path.unlink()


def _move(content: Path, folder: Path) -> None:
    """Move files beside others."""
    moves = {path: folder / path.relative_to(content) for path in content.rglob("*") if path.is_file()}
    taken = [target for target in moves.values() if target.exists()]
    if taken:
        raise UserError.at(taken[0], "is there already", "move it away")
    for path, target in moves.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
