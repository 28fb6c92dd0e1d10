"""Clean: remove what can be made again and nobody uses any more, and say what the rest takes.

Searches and the curves of trackers are nobody's to make again: they go by name alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from softvote.config.competition import Competition
from softvote.data.cache_folders import find_busy, find_outdated, find_unread
from softvote.errors import ErrorCollector, UserError, one_of
from softvote.reporting.tables import render
from softvote.stages import open_run
from softvote.storage.files import remove_folder, remove_if_exists
from softvote.storage.locks import try_lock
from softvote.storage.paths import TuneFolder, Workspace, tracker_lock


@dataclass(frozen=True)
class CleanItem:
    """One kind of files.

    Attributes:
        what: they are.
        size: in bytes.
        removed: whether they are gone; else they stay.
        name: by which they can be removed; empty of those that have none.
        is_made_again: whether they are made or fetched again when they are needed, so that `all` removes
            them.
    """

    what: str
    files: int
    size: int
    removed: bool
    name: str = ""
    is_made_again: bool = True


@dataclass(frozen=True)
class CleanResult:
    """What was found, kind by kind."""

    items: tuple[CleanItem, ...]

    def __str__(self) -> str:
        lines = [
            [
                item.what,
                f"{item.files:,}",
                f"{item.size / 1e6:,.1f} MB",
                "removed" if item.removed else "kept",
                item.name,
            ]
            for item in self.items
            if item.files
        ]
        if not lines:
            return "nothing is kept that could be made again"
        table = render(["what", "files", "size", "", "name"], lines).removesuffix("\n")
        kept = [item for item in self.items if not item.removed]
        freed = sum(item.size for item in self.items if item.removed)
        told = [f"freed {freed / 1e6:,.1f} MB"]
        if more := sum(item.size for item in kept if item.is_made_again):
            told.append(f"{more / 1e6:,.1f} MB more with `all`, which are made or fetched again when needed")
        if more := sum(item.size for item in kept if not item.is_made_again):
            told.append(f"{more / 1e6:,.1f} MB more by their names alone, and nothing makes them again")
        return f"{table}\n{'; '.join(told)}"


@dataclass(frozen=True)
class _Kind:
    """What is counted together, and removed or not.

    Attributes:
        locks: that runs hold which need these files.
    """

    what: str
    paths: Sequence[Path]
    remove: bool
    name: str = ""
    is_made_again: bool = True
    locks: Sequence[Path] = ()

    @property
    def said(self) -> str:
        """What messages call it."""
        return self.name or self.what


def run(root: Path, everything: bool = False, names: Sequence[str] = ()) -> CleanResult:
    """Remove what no run comes upon again, and count the rest.

    That is machine code of sources that have changed since, and parsed input files that have.
    Precisions and speeds that were found on this machine stay in any case: trainings that go on need them;
    so do weights, predictions and scores, and what another process decodes now.

    Args:
        everything: also remove what is used: machine code, parsed input files, downloads that were not
            unpacked. It is made or fetched again when it is needed.
        names: of what to remove besides, as the result names them: `tune/<pipeline>` and
            `trackers/<name>`, which nothing makes again, and `unread`.

    Raises:
        UserError: names of nothing, or what a search, a training or a download is busy with, all of them
            together, and nothing is removed; or something cannot be removed.
    """
    kinds = [*_caches(Workspace(root), everything, "unread" in names), *_by_name(Workspace(root), names)]
    known = [kind.name for kind in kinds if kind.name]
    problems = ErrorCollector()
    for name in names:
        if name not in known:
            problems.add(name, "is not kept under this name", one_of(known, name))
    problems.raise_any()
    with contextlib.ExitStack() as claims:
        for kind in kinds:
            locks = kind.locks if kind.remove else ()
            if not all(claims.enter_context(try_lock(lock)) for lock in locks):
                problems.add(kind.said, "another run is busy with it", "wait for it")
        problems.raise_any()
        items = [
            CleanItem(kind.what, *_count(kind.paths), kind.remove, kind.name, kind.is_made_again)
            for kind in kinds
        ]
        for kind in kinds:
            for path in kind.paths if kind.remove else ():
                remove_folder(path) if path.is_dir() else remove_if_exists(path)
    return CleanResult(tuple(items))


def _caches(workspace: Workspace, everything: bool, unread: bool) -> Iterator[_Kind]:
    """What is made or fetched again."""
    old, current = _machine_code()
    yield _Kind("old machine code", old, True)
    yield _Kind("machine code", current, everything)
    busy, outdated = find_busy(workspace), find_outdated(workspace)
    unused = [path for path in find_unread(workspace, _competitions(workspace)) if path not in outdated]
    apart = {workspace.autotune, workspace.throughputs, *busy, *outdated, *unused}
    parsed = [path for path in _children(workspace.cache) if path not in apart]
    yield _Kind("parsed input files, since changed", outdated, True)
    yield _Kind("parsed input files that no pipeline reads", unused, everything or unread, "unread")
    yield _Kind("parsed input files", parsed, everything)
    downloads, locks = _children(workspace.downloads), workspace.download_locks()
    yield _Kind("downloads, not unpacked", downloads, everything, locks=locks)


def _by_name(workspace: Workspace, names: Sequence[str]) -> Iterator[_Kind]:
    """What people look at, or go on with, and nothing makes again."""
    for folder in sorted(workspace.models.glob("*/tune")):
        name, pipeline = f"tune/{folder.parent.name}", folder.parent.name
        locks = [TuneFolder(folder).lock]
        yield _Kind(f"trials of {pipeline}", [folder], name in names, name, False, locks)
    for folder in filter(Path.is_dir, _children(workspace.trackers)):
        name, locks = f"trackers/{folder.name}", [tracker_lock(folder)]
        yield _Kind(f"curves for {folder.name}", [folder], name in names, name, False, locks)


def _competitions(workspace: Workspace) -> Iterator[Competition]:
    """Those of all pipelines that can be read."""
    for folder in (workspace.pipelines, workspace.gallery):
        for path in sorted(folder.glob("*.yaml")):
            with contextlib.suppress(UserError):
                yield open_run(workspace.root, str(path)).pipeline.competition


def _machine_code() -> tuple[list[Path], list[Path]]:
    """Old and current files; none where nothing compiles."""
    try:
        import softvote.ops.cpu_kernels  # noqa: F401  its functions say where they are kept
        from softvote.ops.numba_cache import machine_code
    except ImportError:
        return [], []
    return machine_code()


def _children(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _count(paths: Iterable[Path]) -> tuple[int, int]:
    """How many files lie there, and their bytes."""
    files = [
        file for path in paths for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file()
    ]
    return len(files), sum(file.stat().st_size for file in files)
