"""Where things lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from softvote.storage.paths import Workspace


@pytest.mark.parametrize(
    ("there", "name", "found"),
    [
        ([], "leaves", "leaves.yaml"),
        (["leaves.yaml"], "leaves", "leaves.yaml"),
        (["gallery/leaves.yaml"], "leaves", "gallery/leaves.yaml"),
        (["gallery/leaves.yaml"], "gallery/leaves", "gallery/leaves.yaml"),
        (["gallery/leaves.yaml", "leaves.yaml"], "leaves", "leaves.yaml"),
        (["gallery/leaves.yaml", "leaves.yaml"], "gallery/leaves", "gallery/leaves.yaml"),
    ],
)
def test_a_pipeline_of_ones_own_goes_before_the_gallery(
    workspace: Workspace, there: list[str], name: str, found: str
) -> None:
    for file in there:
        path = workspace.pipelines / Path(file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert workspace.pipeline_file(name) == workspace.pipelines / found
