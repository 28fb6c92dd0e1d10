"""Clean: remove what can be made again and nobody uses any more, and say what the rest takes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from softvote.reporting.tables import render
from softvote.storage.files import remove_folder, remove_if_exists
from softvote.storage.paths import Workspace


@dataclass(frozen=True)
class CleanItem:
    """One kind of files.

    Attributes:
        what: they are.
        size: in bytes.
        removed: whether they are gone; else they stay, or would go with `all`.
    """

    what: str
    files: int
    size: int
    removed: bool


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
            ]
            for item in self.items
            if item.files
        ]
        if not lines:
            return "nothing is kept that could be made again"
        table = render(["what", "files", "size", ""], lines).removesuffix("\n")
        freed = sum(item.size for item in self.items if item.removed)
        more = sum(item.size for item in self.items if not item.removed)
        hint = f"; {more / 1e6:,.1f} MB more with `all`, which are made or fetched again when needed"
        return f"{table}\nfreed {freed / 1e6:,.1f} MB{hint if more else ''}"


def run(root: Path, everything: bool = False) -> CleanResult:
    """Remove machine code of sources that have changed since, and what reads as such.

    Precisions and speeds that were found on this machine stay in any case: trainings that go on need them.

    Args:
        everything: also remove what is used: machine code, parsed input files, downloads that were not
            unpacked. It is made or fetched again when it is needed.

    Raises:
        UserError: something cannot be removed.
    """
    workspace = Workspace(root)
    old, current = _machine_code()
    kept = (workspace.autotune, workspace.throughputs)
    parsed = [path for path in _children(workspace.cache) if path not in kept]
    kinds = [
        ("old machine code", old, True),
        ("machine code", current, everything),
        ("parsed input files", parsed, everything),
        ("downloads, not unpacked", _children(workspace.downloads), everything),
    ]
    items = [_item(what, paths, remove) for what, paths, remove in kinds]
    return CleanResult(tuple(items))


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


def _item(what: str, paths: Iterable[Path], remove: bool) -> CleanItem:
    """Count what lies there, and remove it where that is wanted."""
    paths = list(paths)
    files = [
        file for path in paths for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file()
    ]
    item = CleanItem(what, len(files), sum(file.stat().st_size for file in files), remove)
    for path in paths if remove else ():
        remove_folder(path) if path.is_dir() else remove_if_exists(path)
    return item
