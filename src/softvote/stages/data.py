"""Data: from a competition's zip to `input/<competition>/`."""

from __future__ import annotations

from pathlib import Path

from softvote.artifacts import Workspace
from softvote.unpack import unpack


def run(root: Path, zip_path: Path, name: str | None) -> None:
    """Unpack the zip and list what came out of it.

    Raises:
        UserError: no zip file, a damaged one, or other content there already.
    """
    folder = unpack(zip_path, Workspace(root), name)
    for path in sorted(folder.rglob("*"))[:20]:
        if path.is_file():
            print(f"{path}  {path.stat().st_size:,} bytes")
