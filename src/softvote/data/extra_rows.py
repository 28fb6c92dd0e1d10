"""Extra rows for training: images from elsewhere, which never validate and must not be in the test set."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from softvote.config.competition import Competition, LabelRange
from softvote.config.recipe import ExtraTrain
from softvote.data.dataset import Dataset
from softvote.data.pixels import Pixels, iterate_pixels
from softvote.data.readers.npy import load_array, load_images
from softvote.errors import MOST_OF_A_KIND, ErrorCollector
from softvote.storage.fingerprints import fingerprint, sha256_of
from softvote.storage.paths import Workspace
from softvote.task import LARGEST_DIGIT


@dataclass(frozen=True)
class ExtraRows:
    """Rows beside the competition's.

    Attributes:
        images: uint8 (n, C, H, W).
        values: int64 (n,), what each image shows; of tags (n, K), of several targets (n, T).
        digits: int64 (n, S), the hidden digits; None where they are not known.
    """

    images: Pixels
    values: NDArray[np.int64]
    digits: NDArray[np.int64] | None


def fingerprint_of(spec: ExtraTrain, workspace: Workspace) -> str:
    """A short key of the files' content.

    Raises:
        UserError: files that are missing, one line each.
    """
    problems = ErrorCollector()
    paths = _paths(spec, workspace)
    for key, path in paths.items():
        if not path.is_file():
            problems.add(path, "is missing", f"add it, or fix extra_train.{key} in the pipeline file")
    problems.raise_any()
    return fingerprint({key: sha256_of(path) for key, path in paths.items()})


def load_extra(
    spec: ExtraTrain, workspace: Workspace, competition: Competition, dataset: Dataset
) -> ExtraRows:
    """Read the rows and hold them against the competition.

    Raises:
        UserError: every problem of the files; images of the test set or of the training rows.
    """
    paths, problems = _paths(spec, workspace), ErrorCollector()
    pixels = load_images(paths["images"], competition.image, problems)
    first, last = _limits(competition)
    shape = (len(pixels), *competition.task.label_shape)
    values = _integers(paths["labels"], shape, (first, last), problems) - first
    digits = None
    if "digits" in paths:
        shape = (len(pixels), competition.hidden_digits or 0)
        digits = _integers(paths["digits"], shape, (0, LARGEST_DIGIT), problems)
        if not problems:
            _report_other_sums(digits, values, paths["digits"], problems)
    problems.raise_any()
    _refuse_known_images(pixels, paths["images"], dataset)
    return ExtraRows(pixels, values, digits)


def _limits(competition: Competition) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first and the last label as files have them, shaped as those of one row: of names their places."""
    if competition.tags is not None:
        return np.array(0), np.array(1)
    if competition.labels is not None:
        first = _first(competition.labels)
        return np.array(first), np.array(first + competition.task.num_values - 1)
    firsts = np.array([_first(labels) for labels in (competition.targets or {}).values()])
    return firsts, firsts + np.array(competition.task.target_sizes) - 1


def _first(labels: object) -> int:
    return labels.first if isinstance(labels, LabelRange) else 0


def _paths(spec: ExtraTrain, workspace: Workspace) -> dict[str, Path]:
    named = spec.model_dump(include={"images", "labels", "digits"}, exclude_none=True)
    return {key: workspace.inputs / name for key, name in named.items()}


def _integers(
    path: Path, shape: tuple[int, ...], limits: tuple[ArrayLike, ArrayLike], problems: ErrorCollector
) -> NDArray[np.int64]:
    """int64 of that shape, within the limits; anything else is noted. Without images, any count will do."""
    array, nothing = load_array(path, problems), np.zeros(shape, np.int64)
    if array is None:
        return nothing
    expected = shape if shape[0] else (*array.shape[:1], *shape[1:])
    if array.dtype.kind not in "iu" or array.shape != expected:
        wanted = f"integers of shape {expected}"
        problems.add(path, f"holds {array.dtype} of shape {array.shape}, not {wanted}", "save it so")
        return nothing
    first, last = (np.broadcast_to(limit, array.shape) for limit in limits)
    for found in np.argwhere((array < first) | (array > last))[:MOST_OF_A_KIND].tolist():
        place, where = tuple(found), ", ".join(map(str, found))
        allowed = f"{first[place]}..{last[place]}"
        problems.add(f"{path}, index {where}", f"{array[place]} is not in {allowed}", "fix it")
    return array.astype(np.int64)


def _report_other_sums(
    digits: NDArray[np.int64], values: NDArray[np.int64], path: Path, problems: ErrorCollector
) -> None:
    sums = digits.sum(axis=1)
    for row in np.flatnonzero(sums != values)[:MOST_OF_A_KIND].tolist():
        problems.add(
            f"{path}, index {row}", f"digits sum to {sums[row]}, the label is {values[row]}", "fix one"
        )


def _refuse_known_images(pixels: Pixels, path: Path, dataset: Dataset) -> None:
    """A test image in training, or a validation image among the extra rows, would make scores lie."""
    known = {digest: f"test row {row}" for row, digest in enumerate(_digests(dataset.test_pixels))}
    known |= {digest: f"training row {row}" for row, digest in enumerate(_digests(dataset.train_pixels))}
    problems = ErrorCollector()
    for row, digest in enumerate(_digests(pixels)):
        if digest in known:
            problems.add(f"{path}, index {row}", f"is the image of {known[digest]}", "remove it")
    problems.raise_any()


def _digests(pixels: Pixels) -> Iterator[bytes]:
    for part in iterate_pixels(pixels):
        yield from (hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in part)
