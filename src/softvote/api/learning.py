"""Training a member on arrays, and what comes out of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softvote.api.image_data import ImageData
from softvote.config.recipe import Member
from softvote.errors import ErrorCollector, UserError
from softvote.inference.loading import load_predictor, read_training, save_predictor
from softvote.inference.predictor import Predictor
from softvote.seeds import training_seed
from softvote.storage.paths import FoldFolder, Workspace
from softvote.training.callbacks import Callback
from softvote.training.rows import Split
from softvote.training.train import TrainingSpec, train
from softvote.words import counted


@dataclass(frozen=True, eq=False)
class FittedMember:
    """A trained network, ready to predict.

    Attributes:
        member: the recipe it was trained by.
        classes: K names, the columns of its probabilities.
        image: channels, height and width that it takes.
        log: a row per epoch: learning rate, loss, accuracy, seconds, ...; empty where it was loaded.
    """

    member: Member
    classes: list[str]
    image: tuple[int, int, int]
    predictor: Predictor = field(repr=False)
    log: list[dict[str, Any]] = field(default_factory=list, repr=False)

    def predict_proba(
        self, images: NDArray[np.uint8], addends: NDArray[np.int64] | None = None
    ) -> NDArray[np.float32]:
        """Predict probabilities.

        Args:
            images: uint8 (N, C, H, W), 0..255, of the size it was trained on.
            addends: int64 (N,), 0..9, where the task has them.

        Returns:
            float32 (N, K), rows that sum to 1, or each target's; of tags each 0..1.

        Raises:
            UserError: other images, or addends that are missing or not wanted.
        """
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != self.image:
            wanted = ", ".join(map(str, self.image))
            raise UserError.at("images", f"{images.dtype} {images.shape}", f"give uint8 (N, {wanted})")
        if (addends is None) == self.predictor.network.task.addend:
            raise UserError.at("addends", "one per image is needed" if addends is None else "leave them out")
        return self.predictor.probabilities(np.ascontiguousarray(images), addends)

    def predict(
        self, images: NDArray[np.uint8], addends: NDArray[np.int64] | None = None
    ) -> NDArray[np.int64]:
        """Name what is most probable in each image, as labels have it: int64 (N,), indices into `classes`; of
        tags (N, K) of 0 and 1, those of at least one half; of several targets (N, T), an index for each.

        Arguments and errors are those of `predict_proba`.
        """
        return self.predictor.network.task.name(self.predict_proba(images, addends))

    def save(self, path: str | Path) -> Path:
        """Write weights and recipe into a folder, which `load` and `softvote predict --model` read.

        Returns:
            the folder.

        Raises:
            UserError: it cannot be written.
        """
        folder = FoldFolder(Path(path))
        save_predictor(folder, self.predictor, self.member, self.classes, self.image)
        return folder.path


def load(path: str | Path) -> FittedMember:
    """Load a trained network from a folder: what `FittedMember.save` wrote, or a fold of the train stage.

    Raises:
        UserError: there is none, or it is damaged.
    """
    folder = FoldFolder(Path(path))
    predictor, record = load_predictor(folder), read_training(folder)
    return FittedMember(Member.model_validate(record.member), record.classes, record.image, predictor)


def fit(
    member: Member,
    data: ImageData,
    rows: NDArray[np.bool_] | NDArray[np.integer] | None = None,
    seed: int = 0,
    callbacks: Sequence[Callback] = (),
    init_from: FittedMember | None = None,
    name: str = "",
) -> FittedMember:
    """Train one network by a member's recipe; the schedule is fixed, and the last epoch counts.

    Args:
        member: the recipe, such as `pipeline.members["cnn"]`.
        data: the images.
        rows: to train on, bool (N,) or row numbers; if omitted, all. A regression's width is measured on the
            others, where there are any.
        seed: of everything random; on a CPU, equal seeds, threads and precision give equal weights.
        callbacks: told of every step and epoch; nothing is shown without `ShowProgress` among them.
        init_from: whose weights it starts from, where the member's recipe says `init_from`.
        name: what the progress display calls it; if omitted, its model.

    Raises:
        UserError: rows that do not exist, fewer than two, or a recipe that needs more than these images.
    """
    chosen = _row_numbers(rows, len(data.train.images))
    member = member.with_head_of(data.task.kind)
    _check_recipe(member, data, init_from)
    split = Split.of(data.train, chosen)
    start = init_from.predictor.network.model.state_dict() if init_from else None
    spec = TrainingSpec(
        member, data.task, seed, name or member.model, start, data.classes, Workspace(Path()).weights
    )
    trained = train(spec, split, callbacks)
    predictor = Predictor(
        trained.network, trained.normalisation, trained.compute_config, member.tta, member.view
    )
    others = np.setdiff1d(np.arange(len(data.train)), chosen)
    if trained.network.head.needs_calibration and len(others):
        predictor = predictor.calibrate(data.train.take(others))
    channels, height, width = data.train.images.shape[1:]
    return FittedMember(member, data.classes, (channels, height, width), predictor, trained.log)


def cross_val_predict(
    member: Member,
    data: ImageData,
    folds: NDArray[np.integer],
    seed: int = 0,
    callbacks: Sequence[Callback] = (),
    name: str = "",
) -> NDArray[np.float32]:
    """Train a member once without each fold, and predict that fold: out-of-fold probabilities of all rows.

    Given a pipeline's seed and the member's name in it, these are the numbers of its train stage. Repeats of
    a recipe are averaged; its refit has no part in them.

    Args:
        folds: integers (N,), as `make_folds` gives them.
        seed: from which each training's is derived.
        callbacks: told of every step and epoch of every training.
        name: of the member; if omitted, its model's.

    Returns:
        float32 (N, K), rows that sum to 1.

    Raises:
        UserError: not one fold per row, a single fold, or as `fit`.
    """
    images = data.train.images
    folds = np.asarray(folds)
    if folds.shape != (len(images),) or folds.dtype.kind not in "iu" or len(present := np.unique(folds)) < 2:
        what = f"{folds.dtype} {folds.shape} for {counted(len(images), 'image')}"
        raise UserError.at("folds", what, "give each an integer, one of two or more")
    name = name or member.model
    found = np.zeros((len(images), data.task.num_classes))
    for fold in present.tolist():
        own = folds == fold
        for repeat in range(member.repeats):
            label = f"{name} fold {fold}" + (f" repeat {repeat}" if repeat else "")
            fitted = fit(member, data, ~own, training_seed(seed, name, fold, repeat), callbacks, name=label)
            found[own] += fitted.predictor.out_of_fold(data.train.take(np.flatnonzero(own)))
    return (found / member.repeats).astype(np.float32)


def _row_numbers(rows: NDArray[np.bool_] | NDArray[np.integer] | None, count: int) -> NDArray[np.int64]:
    """Ascending row numbers of a mask or of row numbers."""
    if rows is None:
        return np.arange(count)
    rows = np.asarray(rows)
    if rows.ndim != 1 or rows.dtype.kind not in "biu" or (rows.dtype == bool and len(rows) != count):
        raise UserError.at("rows", f"{rows.dtype} {rows.shape}", f"give bool ({count},), or row numbers")
    chosen = np.flatnonzero(rows) if rows.dtype == bool else np.unique(rows).astype(np.int64)
    if len(chosen) < 2 or chosen[0] < 0 or chosen[-1] >= count:
        raise UserError.at(
            "rows",
            f"{counted(len(chosen), 'row')} of {counted(count, 'image')}",
            f"give at least two, from 0 to {count - 1}",
        )
    return chosen


def _check_recipe(member: Member, data: ImageData, init_from: FittedMember | None) -> None:
    """Refuse a recipe whose head is for other labels, or one that takes more than images and labels.

    What is more, only the stages have at hand.
    """
    problems = ErrorCollector()
    shape = data.train.images.shape[1:]
    for key, changes in (("augment", member.augment), ("tta", member.tta)):
        for problem in changes.find_misfits(*shape) if changes else ():
            problems.add(f"member.{key}.{problem.where}", problem.what, problem.hint)
    for problem in [
        *member.misfits_of_head(data.task.kind),
        *member.misfits_of_weights(data.task, data.classes),
    ]:
        problems.add(f"member.{problem.where}", problem.what, problem.hint)
    problems.raise_any()
    for key in ("extra_train", "glyphs_from", "teacher"):
        if getattr(member, key) is not None:
            raise UserError.at(
                f"member.{key}", "needs the files of its pipeline", "use softvote.run(pipeline)"
            )
    if bool(member.init_from) != (init_from is not None):
        hint = "pass init_from=" if member.init_from else "leave init_from= out"
        raise UserError.at("member.init_from", f"the recipe says {member.init_from or 'nothing'}", hint)
