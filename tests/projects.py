"""Small projects on disk: a competition of real digits, a pipeline, and the command line on them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from data_fixtures import write_csv
from numpy.typing import NDArray

from softvote.cli import main

Digits = tuple[NDArray[np.uint8], NDArray[np.int64]]

# Without a probe, so that every run computes the same.
RECIPE: dict[str, Any] = {
    "epochs": 2,
    "batch_size": 32,
    "optimizer": {"name": "adamw", "lr": 0.004},
    "precision": "fp32",
    "memory_format": "contiguous",
}


def competition(**facts: Any) -> dict[str, Any]:
    return {
        "name": "digits",
        "files": {"format": "pixel_csv"},
        "image": {"height": 8, "width": 8},
        "labels": {"first": 0, "last": 9},
        "solution": "solution.csv",
    } | facts


def pipeline(**facts: Any) -> dict[str, Any]:
    """Two members on two folds, with `facts` over these."""
    return {
        "competition": competition(),
        "folds": {"count": 2},
        "defaults": RECIPE,
        "members": {"cnn": {"model": "cnn"}, "resnet5": {"model": "resnet5"}},
        "engine": {"workers": 1},
    } | facts


def write_digits(
    root: Path, digits: Digits, train: int, test: int, addends: NDArray[np.int64] | None = None
) -> None:
    """Real digits as the competition 'digits': `train` rows, then `test` rows with their solution."""
    folder = root / "input" / "digits"
    folder.mkdir(parents=True, exist_ok=True)
    images, labels = digits[0].reshape(len(digits[0]), -1), digits[1]
    names = [f"pixel{index}" for index in range(images.shape[1])]
    cells = images.tolist()
    if addends is not None:
        names, cells = ["addend", *names], [[a, *row] for a, row in zip(addends.tolist(), cells, strict=True)]
    rows = [[label, *row] for label, row in zip(labels[:train], cells[:train], strict=True)]
    write_csv(folder / "train.csv", ["label", *names], rows)
    write_csv(folder / "test.csv", names, cells[train : train + test])
    ids = range(1, test + 1)
    write_csv(folder / "sample_submission.csv", ["ImageId", "Label"], [[i, 0] for i in ids])
    truth = labels[train : train + test].tolist()
    write_csv(folder / "solution.csv", ["ImageId", "Label"], list(zip(ids, truth, strict=True)))


def write_pipeline(root: Path, facts: dict[str, Any], name: str = "tiny") -> Path:
    path = root / "pipelines" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(facts, sort_keys=False), encoding="utf-8")
    return path


def write_project(root: Path, digits: Digits, train: int = 300, test: int = 100, **facts: Any) -> Path:
    """A root folder with the digits under input/ and the pipeline 'tiny'."""
    write_digits(root, digits, train, test)
    write_pipeline(root, pipeline(**facts))
    return root


def softvote(root: Path, *words: str) -> int:
    """The command line in this process."""
    return main(["--root", str(root), *words])


def command(root: Path, words: Sequence[str]) -> list[str]:
    """The command line as its own process would be started."""
    return [sys.executable, "-m", "softvote", "--root", str(root), *words]


def process(root: Path, *words: str) -> subprocess.Popen[str]:
    """Start the command line beside this process, in a process group of its own."""
    return subprocess.Popen(
        command(root, words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"}, start_new_session=True,
    )  # fmt: skip


def probabilities(folder: Path) -> NDArray[np.float32]:
    """The out-of-fold probabilities in a folder."""
    with np.load(folder / "oof.npz") as oof:
        return np.array(oof["probabilities"])


def times(root: Path) -> dict[str, int]:
    """When each file under a folder was last written, in nanoseconds; caches and locks are left out."""
    return {
        path.relative_to(root).as_posix(): path.stat().st_mtime_ns
        for path in sorted(root.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(root).parts)
    }
