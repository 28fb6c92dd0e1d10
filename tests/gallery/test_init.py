"""What `init` finds in the files of each competition, held against what the gallery knows of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gallery.miniatures import MAKERS
from projects import softvote

from softvote.config.competition import Competition
from softvote.stages import open_run


def facts(competition: Competition) -> dict[str, Any]:
    """What files can tell: how they are laid out, the images, what is asked and how it is answered."""
    space = competition.label_space
    return {
        "files": competition.files.model_dump(exclude={"rename", "groups"}),
        "channels": competition.image.channels,
        "kind": "classes" if space.task.kind == "ordered" else space.task.kind,
        "names": sorted(space.names),
        "form": competition.submission_form.model_dump(),
        "sample": competition.sample_submission,
    }


@pytest.mark.parametrize("slug", sorted(MAKERS))
def test_init_finds_what_the_gallery_knows(slug: str, project: Callable[[str], Path]) -> None:
    root = project(slug)
    (root / "input" / slug / "solution.csv").unlink()
    known = open_run(root, slug).pipeline
    (root / "pipelines" / f"{slug}.yaml").unlink(missing_ok=True)
    assert softvote(root, "init", str(root / "input" / slug)) == 0
    found = open_run(root, slug).pipeline
    assert facts(found.competition) == facts(known.competition)
    assert found.folds.group == known.folds.group
