"""What `init` finds in the files of each competition, held against what the gallery knows of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gallery.miniatures import SOME_SOON
from projects import softvote

from softvote.config.competition import Competition
from softvote.stages import open_run


def facts(competition: Competition) -> dict[str, Any]:
    """What files can tell: how they are laid out, the images, what is asked and how it is answered."""
    space = competition.label_space
    return {
        "files": competition.files.model_dump(exclude={"rename", "groups", "suffix"}),
        "channels": competition.image.channels,
        "kind": "classes" if space.task.kind == "ordered" else space.task.kind,
        "names": sorted(space.names),
        "form": competition.submission_form.model_dump(),
        "sample": competition.sample_submission,
    }


# What init takes otherwise, and what it says of it: no file tells better.
OTHERWISE = {
    "bengaliai-cv19": (
        "names",
        "3 targets: grapheme_root, vowel_diacritic, consonant_diacritic",
    ),  # as they occur
    "histopathologic-cancer-detection": ("form", "a sample of nothing but 0 may ask for a probability too"),
    "rsna-intracranial-hemorrhage-detection": ("channels", "the window that most DICOM files name"),
    "siim-isic-melanoma-classification": ("form", "a sample of nothing but 0 may ask for a probability too"),
}

# Pixels in a row that are not square: nobody but the competition's page says how high and wide they are.
SIZES = {"bengaliai-cv19": "34x59"}


@pytest.mark.parametrize("slug", SOME_SOON)
def test_init_finds_what_the_gallery_knows(
    slug: str, project: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    root = project(slug)
    (root / "input" / slug / "solution.csv").unlink()
    known = open_run(root, slug).pipeline
    (root / "pipelines" / f"{slug}.yaml").unlink(missing_ok=True)
    words = ["--image", SIZES[slug]] if slug in SIZES else []
    assert softvote(root, "init", str(root / "input" / slug), *words) == 0
    found = open_run(root, slug).pipeline
    ours, theirs = facts(found.competition), facts(known.competition)
    ours["group"], theirs["group"] = found.folds.group, known.folds.group
    different, said = OTHERWISE.get(slug, ("", ""))
    assert {key for key in ours if ours[key] != theirs[key]} == set(filter(None, [different]))
    assert said in capsys.readouterr().out
