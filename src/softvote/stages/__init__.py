"""The stages: each reads what the one before it wrote, calls the library, and writes one place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from softvote.artifacts import PipelineFolder, Workspace
from softvote.pipeline import Pipeline
from softvote.pipeline_file import load_pipeline


@dataclass(frozen=True)
class Run:
    """One pipeline in one workspace: what every stage is called with."""

    workspace: Workspace
    name: str
    pipeline: Pipeline

    @property
    def folder(self) -> PipelineFolder:
        return self.workspace.pipeline(self.name)


def open_run(root: Path, pipeline: str, settings: Sequence[str] = ()) -> Run:
    """Find and read a pipeline.

    Args:
        root: the workspace's folder.
        pipeline: a name, standing for `<root>/pipelines/<name>.yaml`, or a path that ends in .yaml.
        settings: overrides, KEY=VALUE.

    Raises:
        UserError: every problem of the file.
    """
    workspace = Workspace(root)
    path = Path(pipeline) if pipeline.endswith(".yaml") else workspace.pipelines / f"{pipeline}.yaml"
    return Run(workspace, path.stem, load_pipeline(path, settings))
