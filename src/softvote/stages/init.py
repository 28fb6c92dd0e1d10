"""Init: from a folder of competition files to a pipeline file that reads them."""

from __future__ import annotations

from pathlib import Path

from softvote.config.schema import NAME
from softvote.data.layout import detect_layout
from softvote.errors import UserError
from softvote.storage.files import write_text
from softvote.storage.paths import Workspace


def run(root: Path, folder: Path, name: str | None, image: tuple[int, int] | None) -> None:
    """Recognise the files and write `pipelines/<name>.yaml`.

    Raises:
        UserError: files that are not recognised, a folder outside input/, or a pipeline that is there.
    """
    workspace = Workspace(root)
    if name and not NAME.fullmatch(name):
        raise UserError.at("--name", f"'{name}' is no name: use letters, digits, - and _")
    competition = folder.resolve().name
    if folder.resolve() != workspace.input(competition).resolve():
        raise UserError.at(folder, f"put it under {workspace.inputs} first", "the stages read from there")
    path = workspace.pipelines / f"{name or competition}.yaml"
    if path.exists():
        raise UserError.at(path, "is there already", "remove it or pass --name")
    text = detect_layout(folder, competition, image)
    write_text(path, text)
    print(text, end="")
    print(f"wrote {path}; next: softvote check {path.stem}")
