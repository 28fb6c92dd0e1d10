"""Data: from a competition's zip, or from Kaggle, to `input/<competition>/`."""

from __future__ import annotations

import tempfile
from pathlib import Path

from softvote.artifacts import Workspace
from softvote.errors import UserError
from softvote.stages import open_run
from softvote.unpack import unpack


def run(root: Path, source: str, name: str | None) -> None:
    """Unpack a zip, or download a competition and unpack it, and list what came out of it.

    Args:
        source: the path of a zip; or a pipeline, whose competition is fetched from Kaggle; or else what
            Kaggle calls a competition.
        name: of the folder; left out, the pipeline says it, or it is the zip's or Kaggle's name.

    Raises:
        UserError: no zip file, a damaged one, other content there already, or what Kaggle refuses.
    """
    workspace = Workspace(root)
    if source.endswith(".zip") or Path(source).is_file():
        folder = unpack(Path(source), workspace, name)
    else:
        folder = _fetched(workspace, *_wanted(workspace, source, name))
    for path in sorted(folder.rglob("*"))[:20]:
        if path.is_file():
            print(f"{path}  {path.stat().st_size:,} bytes")


def _wanted(workspace: Workspace, source: str, name: str | None) -> tuple[str, str]:
    """What Kaggle calls the competition, and what we do."""
    if not (workspace.pipelines / f"{source}.yaml").is_file():
        return source, name or source
    competition = open_run(workspace.root, source).pipeline.competition
    if competition.kaggle is None:
        raise UserError(
            f"{source}: its competition {competition.name} names no address at Kaggle (competition.kaggle); "
            "unpack its files with: make data ZIP=path/to/it.zip, or see the README for how they are made"
        )
    return competition.kaggle, name or competition.name


def _fetched(workspace: Workspace, slug: str, name: str) -> Path:
    """The folder of a competition, downloaded unless it is there: it is written whole or not at all."""
    folder = workspace.input(name)
    if folder.is_dir() and any(folder.iterdir()):
        print(f"{folder}: already there; remove the folder to download it again")
        return folder

    from softvote.kaggle import Client

    client = Client()
    try:
        workspace.inputs.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=workspace.inputs) as temporary:
            return unpack(client.download(slug, Path(temporary)), workspace, name)
    except OSError as error:
        raise UserError(f"{workspace.inputs}: cannot be written ({error.strerror})") from None
