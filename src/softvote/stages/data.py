"""Data: from a competition's zip, or from Kaggle, to `input/<competition>/`."""

from __future__ import annotations

import tempfile
from pathlib import Path

from softvote.config.schema import checked_name
from softvote.data.archives import unpack
from softvote.errors import UserError
from softvote.kaggle.competitions import Competitions
from softvote.stages import open_run
from softvote.storage.paths import Workspace


def run(root: Path, source: str, name: str | None) -> None:
    """Unpack a zip, or download a competition and unpack it, and list what came out of it.

    Args:
        source: a pipeline, whose competition is fetched from Kaggle; or the path of a zip; or else what
            Kaggle calls a competition.
        name: of the folder; left out, the pipeline says it, or it is the zip's or Kaggle's name.

    Raises:
        UserError: no zip file, a damaged one, other content there already, or what Kaggle refuses.
    """
    workspace = Workspace(root)
    if _is_pipeline(workspace, source):
        competition = open_run(root, source).pipeline.competition
        folder = _fetched(workspace, competition.kaggle, name or competition.name)
    elif source.endswith(".zip") or Path(source).is_file():
        folder = unpack(Path(source), workspace, name)
    else:
        folder = _fetched(workspace, source, name or source)
    for path in sorted(folder.rglob("*"))[:20]:
        if path.is_file():
            print(f"{path}  {path.stat().st_size:,} bytes")


def _is_pipeline(workspace: Workspace, source: str) -> bool:
    return source.endswith(".yaml") or (workspace.pipelines / f"{source}.yaml").is_file()


def _fetched(workspace: Workspace, slug: str | None, name: str) -> Path:
    """The folder of a competition, downloaded unless it is there: it is written whole or not at all.

    Args:
        slug: what Kaggle calls it; None where it is not held there.
    """
    try:
        folder = workspace.input(checked_name(name))
    except ValueError as error:
        raise UserError.at(name, f"{error}, or pass --name") from None
    if folder.is_file():
        raise UserError.at(
            folder, "is a file where a folder is to be", "move it away, or pass another --name"
        )
    if folder.is_dir() and any(folder.iterdir()):
        print(f"{folder}: already there; remove the folder to get it again")
        return folder
    if slug is None:
        raise UserError.at(
            folder,
            "is not there, and the competition has no address at Kaggle (competition.kaggle)",
            "unpack its files with: make data ZIP=path/to/it.zip, or see docs/results.md for making them",
        )
    client = Competitions()
    try:
        workspace.inputs.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=workspace.inputs) as temporary:
            return unpack(client.download(slug, Path(temporary)), workspace, name)
    except OSError as error:
        raise UserError.at(workspace.inputs, f"cannot be written ({error.strerror})") from None
