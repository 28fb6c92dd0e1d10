"""A pipeline file written from what a folder of competition files looks like, for a person to go on from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from softvote.config.schema import checked_name
from softvote.data.readers.detection import Candidate, DetectedLayout, Size, first_file
from softvote.data.readers.registry import READERS
from softvote.errors import Problem, UserError

SMALL = 64
"""Images up to this side do without a deep backbone."""


def detect_layout(folder: Path, name: str, image: Size | None = None) -> str:
    """The text of a pipeline file for a folder of competition files.

    Args:
        folder: holds the files, as downloaded.
        name: the competition's.
        image: height and width, where a CSV's number of pixels does not tell them, or where image
            files shall be resized.

    Raises:
        UserError: nothing there looks like a competition, or what does is damaged.
    """
    try:
        checked_name(name)
    except ValueError as error:
        raise UserError(str(error)) from None
    if not folder.is_dir():
        raise UserError.at(folder, "no such folder", f"get it with: `data path/to/{name}.zip`")
    sample = first_file(folder, "*sample*sub*.csv", "*submission*.csv", "*sample*.csv", "*example*.csv")
    candidate = Candidate(folder, name, sample, image)
    # A table of labels lies beside most layouts: the plain table comes last.
    tried = (reader.detect(candidate) for reader in reversed(READERS.values()))
    found = next((layout for layout in tried if layout), None)
    if found is None or sample is None:
        missing = "sample submission (*submission*.csv)" if found else "train and test as CSV, images or .npy"
        raise UserError.at(folder, f"found no {missing}", f"write pipelines/{name}.yaml by hand")
    return _text(name, found, sample, first_file(folder, "solution.csv"))


def _text(name: str, found: DetectedLayout, sample: str, solution: str | None) -> str:
    image = {"height": found.height, "width": found.width, "channels": found.channels}
    competition = {
        "name": name,
        "files": found.files,
        "image": image | ({"resize": True} if found.resize else {}),
        "labels": _labels(found.labels),
        "sample_submission": sample,
    }
    second = "resnet5" if max(found.height, found.width) <= SMALL else "resnet18"
    pipeline = {
        "competition": competition | ({"solution": solution} if solution else {}),
        "folds": {"count": 5},
        "defaults": _defaults(min(found.height, found.width)),
        "members": {"cnn": {"model": "cnn"}, second: {"model": second}},
    }
    opening = f"# Written from the files in input/{name}; see that it is what the competition says.\n"
    return opening + yaml.safe_dump(
        pipeline, sort_keys=False, default_flow_style=None, allow_unicode=True, width=110
    )


def _labels(labels: Sequence[str]) -> dict[str, int] | list[str]:
    """A range where nearly every integer in it occurs (a rare sum may not), else the names."""
    names = sorted({label.strip() for label in labels})
    if len(names) < 2:
        raise UserError(Problem("", f"the train labels are all '{''.join(names)}'", "mend the label column"))
    if all(re.fullmatch("0|-?[1-9][0-9]{0,8}", name) for name in names):
        numbers = sorted(map(int, names))
        if len(numbers) >= 0.9 * (numbers[-1] - numbers[0] + 1):
            return {"first": numbers[0], "last": numbers[-1]}
        return [str(number) for number in numbers]
    return names


def _defaults(side: int) -> dict[str, Any]:
    """A short schedule with mild augmentation; strong augmentation needs thirty epochs and more."""
    return {
        "epochs": 12,
        "augment": {"rotate": 10, "scale": 0.1, "shear": 6, "shift": max(1, round(side / 14))},
        "no_aug_epochs": 1,
    }
