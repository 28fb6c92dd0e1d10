"""A workspace with one of the gallery's competitions in small."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from gallery.miniatures import make
from projects import softvote

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path) -> Callable[[str], Path]:
    """Makes a workspace with the repository's pipelines, and the files of a competition as `data` unpacks
    them; `solution.csv` beside them."""

    def start(slug: str) -> Path:
        root = tmp_path / "project"
        shutil.copytree(REPOSITORY / "pipelines", root / "pipelines")
        miniature = make(slug, tmp_path / "kaggle")
        assert softvote(root, "data", str(miniature.zip)) == 0
        with (root / "input" / slug / "solution.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(miniature.solution)
        return root

    return start
