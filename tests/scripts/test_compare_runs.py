"""scripts/compare_runs.py: the clock does not matter, everything else does."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from programs import load

compare_runs = load("compare_runs")
FOLD = Path("models") / "tiny" / "cnn" / "fold0"


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    """Two runs that left the same."""
    before, after = tmp_path / "before", tmp_path / "after"
    (before / FOLD).mkdir(parents=True)
    (before / FOLD / "weights.safetensors").write_bytes(b"weights")
    (before / FOLD / "log.csv").write_text("epoch,loss,seconds\n1,0.5,2.25\n")
    (before / FOLD / "recipe.json").write_text(json.dumps({"seed": 1, "seconds": 3.0}))
    shutil.copytree(before, after)
    return before, after


def test_the_clock_does_not_matter(runs: tuple[Path, Path]) -> None:
    before, after = runs
    (after / FOLD / "log.csv").write_text("epoch,loss,seconds\n1,0.5,9.75\n")
    (after / FOLD / "recipe.json").write_text(json.dumps({"seed": 1, "seconds": 4.0}))
    (after / "models" / ".cache").mkdir()
    (after / "models" / ".cache" / "choice.json").write_text("{}")
    assert compare_runs.compare(before, after) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("weights.safetensors", "others"),
        ("log.csv", "epoch,loss,seconds\n1,0.6,2.25\n"),
        ("recipe.json", '{"seed": 2, "seconds": 3.0}'),
    ],
)
def test_everything_else_does(runs: tuple[Path, Path], name: str, text: str) -> None:
    before, after = runs
    (after / FOLD / name).write_text(text)
    assert compare_runs.compare(before, after) == [f"{FOLD / name}: differs"]


def test_a_file_of_one_run_alone_is_named(runs: tuple[Path, Path]) -> None:
    before, after = runs
    (after / FOLD / "log.csv").unlink()
    (after / FOLD / "test.npy").write_bytes(b"")
    assert compare_runs.compare(before, after) == [
        f"{FOLD / 'log.csv'}: only in {before}", f"{FOLD / 'test.npy'}: only in {after}",
    ]  # fmt: skip
