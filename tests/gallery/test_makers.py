"""The miniatures: solutions that answer the sample."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from gallery.miniatures import MAKERS, SOME_SOON, make
from gallery.unpacking import files_in


def test_there_are_twenty_five() -> None:
    assert len(MAKERS) == 25


@pytest.mark.parametrize("slug", SOME_SOON)
def test_the_solution_answers_the_sample(slug: str, tmp_path: Path) -> None:
    miniature = make(slug, tmp_path)
    files = files_in(miniature.zip)
    samples = [name for name in files if "submission" in name.lower() and "stg2" not in name]
    (sample,) = samples
    header, *records = list(csv.reader(io.StringIO(files[sample].decode())))
    assert miniature.solution[0] == header
    assert [row[0] for row in miniature.solution[1:]] == [row[0] for row in records]
    assert len({len(row) for row in miniature.solution}) == 1
    assert [row[1:] for row in miniature.solution[1:]] != [row[1:] for row in records]
