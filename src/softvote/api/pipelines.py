"""Pipelines, their data and their stages, as a program or a notebook wants them."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from softvote.api.image_data import ImageData
from softvote.config.competition import usual_form
from softvote.config.pipeline import FoldsConfig
from softvote.data.dataset import read_dataset
from softvote.data.duplicates import near_identical_groups
from softvote.data.forms import FORMS, SubmissionTemplate
from softvote.data.split import ImageSplit
from softvote.data.splitting import split
from softvote.ensembling.vote import check_members
from softvote.errors import ErrorCollector, UserError, one_of
from softvote.stages import Run, open_run
from softvote.storage.files import write_text
from softvote.tracking.submission import SubmissionFormat, check_submission, submission_text
from softvote.words import counted

STAGES = ("check", "folds", "train", "ensemble", "submit")
"""What `run` knows, in the order in which stages build on each other."""


def load_pipeline(
    name: str | Path, overrides: Mapping[str, Any] | None = None, root: str | Path = "."
) -> Run:
    """Read a pipeline file.

    Args:
        name: of `<root>/pipelines/<name>.yaml` or else `<root>/pipelines/gallery/<name>.yaml`, or the path
            of a `.yaml` file.
        overrides: keys over what the file says, such as `{"members.cnn.epochs": 2}`; None drops a key.
        root: the folder of pipelines/, input/, models/ and submissions/.

    Returns:
        the pipeline in its folder; `members` holds its recipes.

    Raises:
        UserError: every problem of the file, one line each.
    """
    settings = [f"{key}={json.dumps(value)}" for key, value in (overrides or {}).items()]
    return open_run(Path(root), str(name), settings)


def load_dataset(pipeline: Run) -> ImageData:
    """Read the competition's files of a pipeline, or what an earlier reading of them left behind.

    Raises:
        UserError: every problem of the files, one line each, with file, row and column.
    """
    competition = pipeline.pipeline.competition
    found = read_dataset(competition, pipeline.workspace)
    train = ImageSplit(found.train_pixels, found.train_labels, addends=found.train_addends)
    test = ImageSplit(found.test_pixels, ids=found.test_ids, addends=found.test_addends)
    return ImageData(
        train,
        competition.classes,
        test,
        found.sample_header,
        competition.hidden_digits,
        competition.task.kind,
        competition.task.target_sizes,
        found.line_ids,
        competition.submission_form.model_dump(),
    )


def make_folds(
    data: ImageData,
    n_folds: int = 5,
    seed: int = 0,
    near_identical: float = 4.0,
    groups: ArrayLike | None = None,
) -> NDArray[np.int64]:
    """Assign each training row to a fold: stratified, and near-identical images in one fold.

    With a pipeline's count, seed, distance and group these are the folds of its folds stage. Tags and several
    targets are stratified too, all of them at once.

    Args:
        n_folds: at least 2.
        seed: of the shuffle.
        near_identical: largest root mean square difference of two images that share a fold, in grey levels
            of 0..255; 0 keeps exact copies together only.
        groups: (N,), such as each image's patient; rows of equal values share a fold.

    Returns:
        int64 (N,), 0..n_folds-1.

    Raises:
        UserError: numbers that mean nothing, too few different images or groups, or not one group per
            image.
    """
    _check_numbers(n_folds, seed, near_identical)
    named = None if groups is None else _group_names(groups, len(data.train))
    twins = near_identical_groups(data.train.images, near_identical)
    spec = FoldsConfig(
        count=n_folds, near_identical=near_identical, group=None if named is None else "groups"
    )
    columns = {} if named is None else {"groups": named}
    try:
        return split(data.train.known_labels, twins, spec, seed, data.task, columns)
    except UserError as error:  # which names keys of a pipeline file
        told = (replace(each, where=each.where.replace("folds.count", "n_folds")) for each in error.problems)
        raise UserError(*told) from None


def _check_numbers(n_folds: int, seed: int, near_identical: float) -> None:
    problems = ErrorCollector()
    if not isinstance(n_folds, int | np.integer) or n_folds < 2:
        problems.add("n_folds", repr(n_folds), "use 2 or more")
    if not isinstance(seed, int | np.integer) or seed < 0:
        problems.add("seed", repr(seed), "give a whole number, 0 or more")
    if not isinstance(near_identical, int | float) or not 0 <= near_identical <= 255:
        problems.add("near_identical", repr(near_identical), "give grey levels, 0 to 255")
    problems.raise_any()


def _group_names(groups: ArrayLike, count: int) -> NDArray[np.str_]:
    """Each image's group as text (N,); what is missing would be one group of strangers."""
    found = np.asarray(groups)
    if found.shape != (count,):
        raise UserError.at("groups", f"shape {found.shape} for {counted(count, 'image')}", "give one each")
    if missing := np.flatnonzero(pd.isna(found)).tolist():
        what = f"missing in {len(missing)} of {counted(count, 'row')}, first in row {missing[0]} (from 0)"
        raise UserError.at("groups", what, "give each image a group, a name of its own where it has none")
    return found.astype(str)


def write_submission(probabilities: NDArray[Any], data: ImageData, path: str | Path) -> Path:
    """Write a submission in the form of the competition, and check it first.

    Args:
        probabilities: floats (T, K), of the test images; where the form takes labels, the most probable is
            written (of tags those above one half, of a list of classes five). Or integers that are decided
            already, such as `SoftVoting.predict` gives: labels (T,), tags (T, K), targets (T, targets), or
            the most probable classes (T, k).
        path: the file to write.

    Returns:
        the path.

    Raises:
        UserError: no test images, not one row of probabilities per test image, or a file that cannot be
            written.
    """
    if data.test is None or data.test.ids is None:
        raise UserError.at("data.test", "there are no test images with ids to submit")
    expected, path = (len(data.test.ids), len(data.classes)), Path(path)
    wanted, predictions = _submission_format(data, data.test.ids), np.asarray(probabilities)
    if predictions.dtype.kind == "f":
        if predictions.shape != expected:
            what = f"shape {predictions.shape}, the test images need {expected}"
            raise UserError.at("probabilities", what)
        check_members([predictions.astype(np.float32)], ["of the submission"], data.task.blocks)
        predictions = _decide_plainly(predictions.astype(np.float32), wanted)
    elif len(predictions) != len(data.test.ids):
        what = f"{counted(len(predictions), 'row')}, the test images need {len(data.test.ids)}"
        raise UserError.at("probabilities", what)
    text = submission_text(wanted, predictions)
    check_submission(text, wanted, path.name)
    write_text(path, text)
    return path


def _submission_format(data: ImageData, ids: list[str]) -> SubmissionFormat:
    written = data.form or usual_form(data.kind)
    keys = {"name": written} if isinstance(written, str) else dict(written)
    if keys.get("name") not in FORMS:
        raise UserError.at(
            "data.form", f"no form '{keys.get('name')}'", one_of(list(FORMS), str(keys.get("name")))
        )
    form = FORMS[keys["name"]].model_validate(keys)
    return SubmissionFormat(
        form, SubmissionTemplate(data.sample_header, ids, data.line_ids or ids), data.label_space
    )


def _decide_plainly(probabilities: NDArray[np.float32], wanted: SubmissionFormat) -> NDArray[Any]:
    """What the form takes, where no metric says more."""
    taken = wanted.form.takes[wanted.space.task.kind]
    if "probabilities" in taken:
        return probabilities
    if "labels" in taken:
        return wanted.space.task.name(probabilities)
    return np.argsort(-probabilities, axis=1, kind="stable")[:, :5]


def run(pipeline: Run, stages: Sequence[str] = ("folds", "train", "ensemble")) -> dict[str, Any]:
    """Do stages of a pipeline, as the command line does; what is done and unchanged is left alone.

    Args:
        stages: of check, folds, train, ensemble and submit, in this order; submit writes a file and a row in
            the ledger, and sends nothing.

    Returns:
        what each stage returns, by its name.

    Raises:
        UserError: no such stage, or what a stage has to say.
    """
    for name in [stages] if isinstance(stages, str) else stages:
        if name not in STAGES:
            raise UserError.at("stages", f"no stage '{name}'", one_of(list(STAGES), name))
    names = [stages] if isinstance(stages, str) else stages
    return {name: importlib.import_module(f"softvote.stages.{name}").run(pipeline) for name in names}
