"""Pipelines, their data and their stages, as a program or a notebook wants them."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from softvote.config.competition import usual_form
from softvote.config.pipeline import FoldsConfig
from softvote.data.dataset import read_dataset
from softvote.data.duplicates import near_identical_groups
from softvote.data.forms import FORMS, SubmissionTemplate
from softvote.data.split import ImageSplit
from softvote.data.splitting import split
from softvote.ensembling.vote import check_members
from softvote.errors import UserError, one_of
from softvote.stages import Run, open_run
from softvote.storage.files import write_text
from softvote.task import LabelSpace, Task, TaskKind
from softvote.tracking.submission import SubmissionFormat, check_submission, submission_text

STAGES = ("check", "folds", "train", "ensemble", "submit")
"""What `run` knows, in the order in which stages build on each other."""


@dataclass(frozen=True, eq=False)
class ImageData:
    """A competition's images in memory, or anybody's arrays.

    Attributes:
        train: with labels.
        classes: K names, the columns of all probabilities in this order.
        test: with ids; None where there are none.
        sample_header: the column names of a submission.
        hidden_digits: S, where a class is the sum of digits 0..9 that hide in the image.
        kind: of the task: `classes`, `ordered` classes, `tags` with labels (N, K) of 0 and 1, or `targets`
            with labels (N, T).
        target_sizes: how many classes each target has; `classes` then names all of them in turn, as
            `target=label`.
        line_ids: the id of each line of a submission, where an image has several; None where each has one.
        form: how a submission is written, its name or its keys as under `competition.form` of a pipeline
            file; None for `label`, of tags `columns`, of several targets `rows`.

    Examples:
        >>> import numpy as np
        >>> import softvote as sv
        >>> images = np.zeros((6, 1, 8, 8), np.uint8)
        >>> data = sv.ImageData(sv.ImageSplit(images, labels=np.arange(6) % 2), classes=["cat", "dog"])
        >>> data.task.num_classes
        2
        >>> tags = np.array([[1, 1], [0, 1], [0, 0], [1, 0], [1, 1], [0, 1]])
        >>> sv.ImageData(sv.ImageSplit(images, labels=tags), classes=["cat", "dog"], kind="tags").task.kind
        'tags'
    """

    train: ImageSplit
    classes: list[str]
    test: ImageSplit | None = None
    sample_header: tuple[str, ...] = ("id", "label")
    hidden_digits: int | None = None
    kind: TaskKind = "classes"
    target_sizes: tuple[int, ...] = ()
    line_ids: list[str] | None = None
    form: str | Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        """Check the training images.

        Raises:
            UserError: they are not uint8 (N, C, H, W) with one label each in 0..K-1, or with labels as
                another kind of task has them.
        """
        if (self.kind == "targets") != bool(self.target_sizes) or (
            self.target_sizes and sum(self.target_sizes) != len(self.classes)
        ):
            what = f"{self.target_sizes} for kind {self.kind} of {len(self.classes)} classes"
            raise UserError.at("target_sizes", what, "give the number of classes of each target")
        images, labels = self.train.images, self.train.labels
        if images.dtype != np.uint8 or len(images.shape) != 4:
            raise UserError.at("images", f"{images.dtype} {images.shape}", "give uint8 (N, C, H, W)")
        if labels is None or labels.shape != (len(images), *self.task.label_shape):
            found = "none" if labels is None else f"shape {labels.shape}"
            wanted = {"tags": "0 or 1 per image and tag", "targets": "one per image and target"}
            hint = f"give {wanted.get(self.kind, 'one per image')}"
            raise UserError.at("labels", f"{found} for {len(images)} images", hint)
        if self.task.check_labels(labels):
            found = f"{labels.min()}..{labels.max()} for {len(self.classes)} classes"
            hint = "give 0 and 1" if self.kind == "tags" else "give indices into classes, from 0"
            raise UserError.at("labels", found, hint)

    @property
    def task(self) -> Task:
        """What is asked of an image."""
        addend = self.train.addends is not None
        return Task(len(self.classes), self.hidden_digits, addend, self.kind, self.target_sizes)

    @property
    def label_space(self) -> LabelSpace:
        """The task with the names of its columns and targets."""
        targets: dict[str, list[str]] = {}
        for name in self.classes if self.kind == "targets" else ():
            target, _, label = name.partition("=")
            targets.setdefault(target, []).append(label)
        return LabelSpace(
            self.task, tuple(self.classes), tuple((name, tuple(of)) for name, of in targets.items())
        )


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
        UserError: too few different images or groups, or not one group per image.
    """
    if n_folds < 2:
        raise UserError.at("n_folds", str(n_folds), "use 2 or more")
    assert data.train.labels is not None, "ImageData has labels"
    named = None if groups is None else np.asarray(groups).astype(str)
    if named is not None and named.shape != (len(data.train),):
        raise UserError.at("groups", f"shape {named.shape} for {len(data.train)} images", "give one each")
    twins = near_identical_groups(data.train.images, near_identical)
    spec = FoldsConfig(
        count=n_folds, near_identical=near_identical, group=None if named is None else "groups"
    )
    return split(data.train.labels, twins, spec, seed, data.task, {} if named is None else {"groups": named})


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
        what = f"{len(predictions)} rows, the test images need {len(data.test.ids)}"
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
