"""The stages: each reads what the one before it wrote, calls the library, and writes one place.

A stage returns what it did as a small object; its `str` is what the command line prints. None prints itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from softvote.config.pipeline import Pipeline
from softvote.config.pipeline_file import read_pipeline_file
from softvote.config.recipe import Member
from softvote.data.label_names import read_label_names
from softvote.errors import UserError, one_of
from softvote.storage.paths import PipelineFolder, Workspace

Report = Callable[[object], None]
"""Takes what a stage tells on its way: results whose `str` is what a person reads."""


def ignore(result: object) -> None:
    """The report of those who wait for the result that is returned."""


@dataclass(frozen=True)
class Run:
    """One pipeline in one workspace: what every stage is called with."""

    workspace: Workspace
    name: str
    pipeline: Pipeline
    settings: tuple[str, ...] = ()
    path: Path | None = None

    @property
    def file(self) -> Path:
        """The pipeline's file."""
        return self.path or self.workspace.pipeline_file(self.name)

    @property
    def folder(self) -> PipelineFolder:
        """Where what it trains lies."""
        return self.workspace.pipeline(self.name)

    @property
    def members(self) -> dict[str, Member]:
        """The recipe of each member, by its name."""
        return self.pipeline.members

    def resolve_name(self, name: str | None) -> str:
        """The member or ensemble of that name; without one, the ensemble.

        Raises:
            UserError: there is none.
        """
        known = [self.pipeline.ensemble.name, *self.pipeline.members]
        if name is None or name in known:
            return name or known[0]
        raise UserError.at("`member`", f"neither ensemble nor member '{name}'", one_of(known, name))


def open_run(root: Path, pipeline: str, settings: Sequence[str] = ()) -> Run:
    """Find and read a pipeline.

    Args:
        root: the workspace's folder.
        pipeline: a name, standing for `<root>/pipelines/<name>.yaml` or else the gallery's of that name, or
            a path that ends in .yaml.
        settings: overrides, KEY=VALUE.

    Raises:
        UserError: every problem of the file.
    """
    workspace = Workspace(root)
    path = Path(pipeline) if pipeline.endswith(".yaml") else workspace.pipeline_file(pipeline)

    def read_names(competition: str, file: str, column: str) -> list[str] | None:
        return read_label_names(workspace.input(competition) / file, column)

    read = read_pipeline_file(path, settings, read_names)
    return Run(workspace, path.stem, read, tuple(settings), path)
