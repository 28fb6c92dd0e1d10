"""Doing a job: train, then predict."""

from __future__ import annotations

import contextlib
import functools
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from softvote import __version__
from softvote.data.dataset import Dataset
from softvote.data.extra_rows import ExtraRows
from softvote.data.pixels import JoinedPixels
from softvote.ensembling.predictions import Predictions, write_predictions
from softvote.errors import UserError
from softvote.inference.record import ExecutionRecord, TrainingRecord
from softvote.scheduling.job import Job
from softvote.scheduling.status import Due, read_status, source_weights
from softvote.seeds import training_seed
from softvote.storage.cache import Cache, memory_cache
from softvote.storage.files import remove_if_exists, remove_temp_files, write_text
from softvote.storage.fingerprints import fingerprint, sha256_of
from softvote.storage.git import git_state
from softvote.training.glyphs import glyphs_of
from softvote.training.teaching import teach

if TYPE_CHECKING:
    from softvote.inference.predictor import Predictor
    from softvote.training.checkpoint import Checkpoints
    from softvote.training.data_parallel import Alone
    from softvote.training.rows import Split
    from softvote.training.train import TrainedNetwork, TrainingSpec

    Team = Callable[[], contextlib.AbstractContextManager[Alone]]


CHECKPOINT_SECONDS = 60.0
"""Between two checkpoints of a training, unless told otherwise; so much is repeated at most."""


CHECKPOINT_VERSION = 2
"""Bumped whenever checkpoints hold other things, so that none of an older version is gone on from."""


@dataclass(frozen=True)
class EngineServices:
    """What an engine gives a training beside its rows.

    Attributes:
        checkpoint_seconds: between two checkpoints.
        keep: given the content of each as well; None where the job's folder is safe.
        cache: keeps what was found fastest on this machine; if omitted, this process does.
        team: gives the processes that train together; None leaves it to this one.
    """

    checkpoint_seconds: float = CHECKPOINT_SECONDS
    keep: Callable[[bytes], None] | None = None
    cache: Cache = memory_cache
    team: Team | None = None


def run_job(
    job: Job,
    dataset: Dataset,
    folds: NDArray[np.int64],
    services: EngineServices = EngineServices(),
    due: Due | None = None,
) -> None:
    """Train the job if that is due, then predict; each leaves its files whole before the next begins.

    Args:
        folds: int64 (N,), the fold of each training row.
        services: what its engine gives a training.
        due: what is, where that is known; None to read it from the job's files.

    Raises:
        UserError: what training and predicting raise; the device's memory is too small.
    """
    remove_temp_files(job.folder.path)
    with _memory_that_suffices(job):
        if (due or read_status(job).due) == "train":
            _train(job, dataset, folds, services)
        _predict(job, dataset, folds)


@contextlib.contextmanager
def _memory_that_suffices(job: Job) -> Iterator[None]:
    import torch

    try:
        yield
    except torch.OutOfMemoryError:
        what = "the device's memory is too small"
        raise UserError.at(job.label, what, _remedy_for_memory(job)) from None


def _remedy_for_memory(job: Job) -> str:
    """What makes a training take less of it."""
    half = job.member.images_at_once // 2
    key = f"members.{job.member_name}"
    if half > 1:
        return f"set {key}.micro_batch: {half}"
    if not job.member.grad_checkpointing:
        return f"set {key}.grad_checkpointing: true"
    return f"set {key}.model to a smaller network"


def _train(job: Job, dataset: Dataset, folds: NDArray[np.int64], services: EngineServices) -> None:
    from softvote.inference.loading import save_weights
    from softvote.inference.predictor import Predictor
    from softvote.training.callbacks import LogLeftOut, ShowProgress
    from softvote.training.data_parallel import Alone
    from softvote.training.train import train

    source = source_weights(job)  # before they are read: if others come meanwhile, this one is due again
    published = _fetch_published_weights(job)
    spec, data = _prepare(job, dataset, folds)
    starts_from = [source, *([published] if published else [])]
    started = time.perf_counter()
    left_out = dataset.train.take(np.flatnonzero(folds == job.fold))
    curves = [LogLeftOut(left_out)] if job.member.curves and len(left_out) else []
    observers = [observe(job, left_out) for observe in job.observers]
    with services.team() if services.team else contextlib.nullcontext(Alone()) as group:
        checkpoints = _checkpoints(job, starts_from, services, group.size)
        callbacks = [*curves, *observers, ShowProgress(), checkpoints]
        trained = train(spec, data, callbacks, checkpoints.read(), services.cache, group)
    # Epochs that a process which is gone has fed are in the log, not in this one's time.
    spent = max(time.perf_counter() - started, sum(epoch["seconds"] for epoch in trained.log))
    predictor = Predictor(
        trained.network, trained.normalisation, trained.compute_config, view=job.member.view
    )
    if trained.network.head.needs_calibration:
        predictor = predictor.calibrate(left_out)
    for stale in (job.folder.scores, job.folder.recipe):
        remove_if_exists(stale)
    save_weights(job.folder, trained.network.model)
    write_text(job.folder.log, _log_csv(trained.log))
    record = _record(job, trained, predictor.network.head.calibration(), spec.seed, spent, source)
    if published:
        record = record.model_copy(update={"published_weights_sha256": published})
    record.write(job.folder.recipe)
    checkpoints.remove()


def _prepare(job: Job, dataset: Dataset, folds: NDArray[np.int64]) -> tuple[TrainingSpec, Split]:
    """Which training a job is, and its rows."""
    from softvote.inference.loading import load_weights
    from softvote.training.train import TrainingSpec

    data = training_rows(job, dataset, folds)
    if job.source and job.member.glyphs_from:
        data = replace(data, glyphs=glyphs_of(job.source.folder, dataset, folds == job.fold))
    if job.teachers:
        test = len(dataset.test_pixels) if job.member.learns_test_rows else 0
        data = teach(data, [_teacher(teacher) for teacher in job.teachers], test)
    seed = training_seed(job.inputs["pipeline_seed"], job.member_name, job.fold, job.repeat)
    start = load_weights(job.source.folder) if job.source and job.member.init_from else None
    classes = job.inputs["classes"]
    return TrainingSpec(job.member, job.task, seed, job.label, start, classes, job.weights_folder), data


def _teacher(job: Job) -> Predictor:
    """What predicts as a job that teaches does by its recipe, whatever its folder still says of views."""
    from softvote.inference.loading import load_predictor

    return replace(load_predictor(job.folder), tta=job.member.tta)


def assist(job: Job, dataset: Dataset, folds: NDArray[np.int64], group: Alone) -> None:
    """Train with the others of a group; what comes of it is left to the first.

    Args:
        folds: int64 (N,), the fold of each training row.

    Raises:
        UserError: what training raises; the device's memory is too small.
    """
    from softvote.training.train import train

    with _memory_that_suffices(job):
        spec, data = _prepare(job, dataset, folds)
        train(spec, data, group=group)


def _fetch_published_weights(job: Job) -> str | None:
    """Have the published weights on this machine, where the job starts from any; their file's sha256.

    Raises:
        UserError: they cannot be had.
    """
    from softvote import models

    weights = models.published_weights(job.member.model, job.member.model_args, job.weights_folder)
    try:
        return sha256_of(weights.fetch()) if weights else None
    except UserError as error:
        raise error.within(f"{job.label}: model {job.member.model}") from None


def _checkpoints(
    job: Job, starts_from: Sequence[str | None], services: EngineServices, processes: int
) -> Checkpoints:
    import torch

    from softvote.compute.device import find_device
    from softvote.training.checkpoint import Checkpoints

    device = find_device()
    key = fingerprint([job.training_fingerprint, *starts_from, CHECKPOINT_VERSION, device])
    threads = torch.get_num_threads() if device == "cpu" else None  # elsewhere bits do not depend on them
    seconds, keep = services.checkpoint_seconds, services.keep
    return Checkpoints(job.folder.checkpoint, key, seconds, keep, threads, processes)


def training_rows(job: Job, dataset: Dataset, folds: NDArray[np.int64]) -> Split:
    """The rows of the training folds, after them the extra ones, and the test rows where these are learned.

    Whoever teaches a job puts soft targets in the place of the labels that test rows have here, which mean
    nothing.

    Args:
        folds: int64 (N,), the fold of each training row.
    """
    import torch

    from softvote.training.rows import Split, StoredSplit

    rows = np.flatnonzero(folds != job.fold)
    more = [job.extra(dataset)] if job.extra else []
    if job.member.learns_test_rows:
        blank = np.zeros((len(dataset.test_pixels), *job.task.label_shape), np.int64)
        more.append(ExtraRows(dataset.test_pixels, blank, None))
    if not more:
        return Split.of(dataset.train, rows)
    if job.member.extra_train and job.member.extra_train.only:
        rows = rows[:0]
    labels = np.concatenate([dataset.train.image_labels, *(part.values for part in more)])
    digits = [_unknown_digits(job, len(rows))]
    digits += [
        _unknown_digits(job, len(part.values)) if part.digits is None else part.digits for part in more
    ]
    are_known = any(part.digits is not None for part in more)
    rows = np.concatenate([rows, np.arange(len(folds), len(labels))])
    return StoredSplit(
        torch.from_numpy(rows),
        torch.from_numpy(labels[rows]),
        rows,
        torch.from_numpy(np.concatenate(digits)) if are_known else None,
        pixels=JoinedPixels([dataset.train_pixels, *(part.images for part in more)]),
    )


def _unknown_digits(job: Job, rows: int) -> NDArray[np.int64]:
    """The hidden digits of rows of which nobody knows them, int64 (rows, S)."""
    return np.full((rows, job.task.hidden_digits or 0), -1)


def _record(
    job: Job,
    trained: TrainedNetwork,
    head: dict[str, float],
    seed: int,
    seconds: float,
    source_weights: str | None,
) -> TrainingRecord:
    """All that prediction needs, and all that the next reader wants to know."""
    import torch

    from softvote.compute.device import accelerator_name

    record = TrainingRecord(
        fingerprint=job.training_fingerprint,
        member=job.member.model_dump(mode="json"),
        classes=job.inputs["classes"],
        hidden_digits=job.task.hidden_digits,
        addend=job.task.addend,
        **job.task.kind_fields,
        image=job.inputs["image"],
        mean=list(trained.normalisation.mean),
        std=list(trained.normalisation.std),
        head=head,
        execution=ExecutionRecord(**trained.compute_config.to_json()),
        device=accelerator_name(trained.compute_config.device),
        seed=seed,
        images_per_epoch=trained.images_per_epoch,
        seconds=round(seconds, 2),
        threads=torch.get_num_threads(),
        peak_memory_mib=_peak_memory_mib(),
        versions={"softvote": __version__, "torch": str(torch.__version__), "commit": _commit()},
        weights_sha256=sha256_of(job.folder.weights),
        source_weights_sha256=source_weights,
        inputs=job.inputs,
    )
    return record.model_copy(update={"decoding": dict(job.decoding)}) if job.decoding else record


@functools.cache
def _commit() -> str:
    """The commit of the code, as `git_state` knows it, marked where it has changes."""
    name, clean = git_state(Path())
    return name if clean or not name else f"{name}, changed"


def _peak_memory_mib() -> int:
    """The most memory this process has held so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (1 << 20 if sys.platform == "darwin" else 1 << 10)


def _log_csv(log: list[dict[str, Any]]) -> str:
    names = list(dict.fromkeys(name for row in log for name in row))  # a part may know more, after a restart
    lines = [[row.get(name, "") for name in names] for row in log]
    texts = [[f"{cell:.6g}" if isinstance(cell, float) else str(cell) for cell in line] for line in lines]
    return "\n".join(map(",".join, [names, *texts])) + "\n"


def _predict(job: Job, dataset: Dataset, folds: NDArray[np.int64]) -> None:
    from softvote.inference.loading import load_predictor, read_training

    record, member = read_training(job.folder), job.member.model_dump(mode="json")
    if record.member != member:  # test-time views are part of what predicts, not of the training
        remove_if_exists(job.folder.scores)  # first, so that what is stored is never of another recipe
        record.model_copy(update={"member": member}).write(job.folder.recipe)
    rows = np.flatnonzero(folds == job.fold)
    predictor = load_predictor(job.folder)
    oof = predictor.out_of_fold(dataset.train.take(rows))
    if job.predicts_test:
        test = predictor.probabilities(dataset.test_pixels, dataset.test_addends)
    else:
        test = np.empty((0, oof.shape[1]), np.float32)
    predictions = Predictions(rows, oof, test)
    write_predictions(job.folder, predictions, dataset.train_labels, job.task, job.prediction_fingerprint)
