"""Init: from a folder of competition files to a pipeline file that reads them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from softvote.config.schema import NAME
from softvote.data.layout import scaffold_pipeline
from softvote.errors import UserError
from softvote.storage.files import write_text
from softvote.storage.paths import Workspace


@dataclass(frozen=True)
class InitResult:
    """A pipeline file that was written.

    Attributes:
        path: where it is.
        text: what is in it.
        took: what was taken for what, a line each.
        unknown: what no file says.
    """

    path: Path
    text: str
    took: tuple[str, ...]
    unknown: tuple[str, ...]

    def __str__(self) -> str:
        config = "".join(line for line in self.text.splitlines(keepends=True) if line[:1] != "#")
        took = "".join(f"  {line}\n" for line in self.took)
        unknown = "".join(f"  {line}\n" for line in self.unknown)
        return (
            f"{config}took:\n{took}not known, so check what the competition says:\n{unknown}"
            f"wrote {self.path}; next: `check {self.path.stem}`"
        )


def run(root: Path, folder: Path, name: str | None, image: tuple[int, int] | None) -> InitResult:
    """Recognise the files and write `pipelines/<name>.yaml`.

    Raises:
        UserError: files that are not recognised, a folder outside input/, or a pipeline that is there.
    """
    workspace = Workspace(root)
    if name and not NAME.fullmatch(name):
        raise UserError.at("`name`", f"'{name}' is not a name: use letters, digits, - and _")
    competition = folder.resolve().name
    if folder.resolve() != workspace.input(competition).resolve():
        raise UserError.at(folder, f"put it under {workspace.inputs} first", "the stages read from there")
    path = workspace.pipelines / f"{name or competition}.yaml"
    if path.exists():
        raise UserError.at(path, "is there already", "remove it or pass `name`")
    found = scaffold_pipeline(folder, competition, image)
    write_text(path, found.text)
    return InitResult(path, found.text, tuple(found.took), tuple(found.unknown))
