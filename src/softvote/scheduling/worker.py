"""Doing a job: train, then predict."""

from __future__ import annotations

import functools
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from softvote import __version__
from softvote.data.dataset import Dataset
from softvote.ensembling.predictions import Predictions, write_predictions
from softvote.inference.record import ExecutionRecord, TrainingRecord
from softvote.scheduling.job import Job
from softvote.scheduling.status import Due, read_status, source_weights
from softvote.seeds import training_seed
from softvote.storage.cache import Cache, memory_cache
from softvote.storage.files import remove_if_exists, remove_temp_files, write_text
from softvote.storage.fingerprints import fingerprint, sha256_of
from softvote.storage.git import git_state
from softvote.training.glyphs import glyphs_of

if TYPE_CHECKING:
    from softvote.training.checkpoint import Checkpoints
    from softvote.training.rows import Split
    from softvote.training.train import Trained


CHECKPOINT_SECONDS = 60.0
"""Between two checkpoints of a training, unless told otherwise; so much is repeated at most."""


CHECKPOINT_VERSION = 2
"""Bumped whenever checkpoints hold other things, so that none of an older version is gone on from."""


def run_job(
    job: Job,
    dataset: Dataset,
    folds: NDArray[np.int64],
    seconds: float = CHECKPOINT_SECONDS,
    keep: Callable[[bytes], None] | None = None,
    cache: Cache = memory_cache,
    due: Due | None = None,
) -> None:
    """Train the job if that is due, then predict; each leaves its files whole before the next begins.

    Args:
        seconds: between two checkpoints of a training.
        keep: given the content of each.
        cache: keeps what was found fastest on this machine; left out, this process does.
        due: what is, where that is known; None to read it from the job's files.
    """
    remove_temp_files(job.folder.path)
    if (due or read_status(job).due) == "train":
        _train(job, dataset, folds, seconds, keep, cache)
    _predict(job, dataset, folds)


def _train(
    job: Job,
    dataset: Dataset,
    folds: NDArray[np.int64],
    seconds: float,
    keep: Callable[[bytes], None] | None,
    cache: Cache,
) -> None:
    from softvote.inference.loading import load_weights, save_weights
    from softvote.inference.predictor import Predictor
    from softvote.training.callbacks import LogLeftOut, ShowProgress
    from softvote.training.train import TrainingSpec, train

    data = training_rows(job, dataset, folds)
    if job.source and job.member.glyphs_from:
        data = replace(data, glyphs=glyphs_of(job.source.folder, dataset, folds == job.fold))
    seed = training_seed(job.inputs["pipeline_seed"], job.member_name, job.fold, job.repeat)
    source = source_weights(job)  # before they are read: if others come meanwhile, this one is due again
    start = load_weights(job.source.folder) if job.source and job.member.init_from else None
    checkpoints = _checkpoints(job, source, seconds, keep)
    started = time.perf_counter()
    spec = TrainingSpec(job.member, job.task, seed, job.label, start, job.inputs["classes"])
    left_out = dataset.train.take(np.flatnonzero(folds == job.fold))
    curves = [LogLeftOut(left_out)] if job.member.curves and len(left_out) else []
    observers = [observe(job, left_out) for observe in job.observers]
    callbacks = [*curves, *observers, ShowProgress(), checkpoints]
    trained = train(spec, data, callbacks, checkpoints.read(), cache)
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
    _record(job, trained, predictor.network.head.calibration(), seed, spent, source).write(job.folder.recipe)
    checkpoints.remove()


def _checkpoints(
    job: Job, source_weights: str | None, seconds: float, keep: Callable[[bytes], None] | None
) -> Checkpoints:
    import torch

    from softvote.compute.device import find_device
    from softvote.training.checkpoint import Checkpoints

    device = find_device()
    key = fingerprint([job.training_fingerprint, source_weights, CHECKPOINT_VERSION, device])
    threads = torch.get_num_threads() if device == "cpu" else None  # elsewhere bits do not depend on them
    return Checkpoints(job.folder.checkpoint, key, seconds, keep, threads)


def training_rows(job: Job, dataset: Dataset, folds: NDArray[np.int64]) -> Split:
    """The rows of the training folds, and the extra ones after them."""
    import torch

    from softvote.training.rows import Split

    rows = np.flatnonzero(folds != job.fold)
    extra = job.extra(dataset) if job.extra else None
    if extra is None:
        return Split.of(dataset.train, rows)
    if job.member.extra_train and job.member.extra_train.only:
        rows = rows[:0]
    more = np.arange(len(extra.values)) + len(folds)
    unknown = np.full((len(rows), job.task.hidden_digits or 0), -1)
    digits = None if extra.digits is None else np.concatenate([unknown, extra.digits])
    return Split(
        torch.from_numpy(np.concatenate([dataset.train_pixels[rows], extra.images])),
        torch.from_numpy(np.concatenate([dataset.train.image_labels[rows], extra.values])),
        np.concatenate([rows, more]),
        None if digits is None else torch.from_numpy(digits),
    )


def _record(
    job: Job, trained: Trained, head: dict[str, float], seed: int, seconds: float, source_weights: str | None
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
        images_per_epoch=trained.images_an_epoch,
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
    """The commit of the work tree the command runs in, marked where it has changes."""
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
    if record.member != member:  # test-time shifts are no part of the training, but of what predicts
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
