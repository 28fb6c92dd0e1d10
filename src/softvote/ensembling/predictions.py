"""The one currency: probabilities over the label range, of out-of-fold rows and of test rows."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softvote.ensembling.records import ScoreRecord
from softvote.ensembling.scorer import Scorer
from softvote.errors import UserError
from softvote.metrics import METRICS
from softvote.metrics.scores import squared_error
from softvote.storage.files import atomic_write, remove_if_exists
from softvote.storage.fingerprints import sha256_of
from softvote.storage.paths import PredictionsFolder
from softvote.storage.snapshot import Snapshot
from softvote.task import LabelSpace, Task


@dataclass(frozen=True)
class Predictions:
    """What a voter says.

    Attributes:
        rows: int64 (n,), ascending row numbers of the train file.
        oof: float32 (n, K), probabilities of those rows by networks that were not trained on them.
        test: float32 (T, K), probabilities of the test rows; memory-mapped where they were read.
    """

    rows: NDArray[np.int64]
    oof: NDArray[np.float32]
    test: NDArray[np.float32]


def merge_folds(parts: list[Predictions]) -> Predictions:
    """A member from its trainings: test probabilities averaged; out-of-fold ones where a row recurs."""
    rows = np.concatenate([part.rows for part in parts])
    order = np.argsort(rows, kind="stable")
    rows, oof = rows[order], np.concatenate([part.oof for part in parts])[order]
    first = np.flatnonzero(np.diff(rows, prepend=-1))  # of each row
    if len(first) < len(rows):
        counts = np.diff(first, append=len(rows))[:, None]
        oof = (np.add.reduceat(oof, first, dtype=np.float64) / counts).astype(np.float32)
    total = parts[0].test.astype(np.float64)
    for part in parts[1:]:
        total += part.test
    return Predictions(rows[first], oof, (total / len(parts)).astype(np.float32))


def write_predictions(
    folder: PredictionsFolder,
    predictions: Predictions,
    labels: NDArray[np.int64],
    task: Task,
    fingerprint: str,
    scorer: Scorer | None = None,
    folds: NDArray[np.int64] | None = None,
) -> None:
    """Write probabilities and then, last, their scores and checksums, which mark the folder as done.

    Without out-of-fold rows there are no scores. Accuracy and log loss are always there; what the competition
    is scored by, and the decision that is taken, come from the scorer.

    Args:
        labels: int64 (N,), of every row of the train file.
        task: says whether errors of sums are scored as well.
        fingerprint: of the work that they come from.
        scorer: of every row of the train file, for a member or an ensemble; None of a single training, which
            is never submitted alone.
        folds: int64 (N,), of every row of the train file; with a scorer.

    Raises:
        UserError: a decision is asked for that cannot be fitted.
    """
    for former in (folder.scores, folder.decision):  # which was fitted to other probabilities
        remove_if_exists(former)
    truth, some = labels[predictions.rows], len(predictions.rows) > 0
    scores = _scores(predictions.oof, truth, task) if some else {}
    if scorer and some and folds is not None:
        scores |= _decide(
            folder, scorer.for_rows(predictions.rows), predictions.oof, truth, folds[predictions.rows]
        )
    with atomic_write(folder.oof) as temporary:
        np.savez(temporary, rows=predictions.rows, probabilities=predictions.oof)
    with atomic_write(folder.test) as temporary:
        np.save(temporary, predictions.test)
    checksums = [sha256_of(path) for path in folder.probabilities]
    ScoreRecord(fingerprint=fingerprint, **scores, checksums=checksums).write(folder.scores)


def _scores(oof: NDArray[np.float32], truth: NDArray[np.int64], task: Task) -> dict[str, Any]:
    """Accuracy and log loss, whatever the competition is scored by."""
    space = LabelSpace.of_names(task, [*map(str, range(task.num_classes))])
    accuracy, log_loss = (
        Scorer.create(METRICS[name](name=name), space).evaluate(oof, truth).score
        for name in ("accuracy", "log_loss")
    )
    scores = {"accuracy": accuracy, "log_loss": log_loss}
    if task.is_of_sums:
        scores["squared_error"] = squared_error(oof, truth)
    return scores


def _decide(
    folder: PredictionsFolder,
    scorer: Scorer,
    oof: NDArray[np.float32],
    truth: NDArray[np.int64],
    folds: NDArray[np.int64],
) -> dict[str, Any]:
    """What the scorer makes of out-of-fold probabilities; the decision is kept where it could be fitted."""
    if scorer.is_plain_accuracy and not scorer.keeps_decision and scorer.groups is None:
        return {}
    decided = scorer.decide(oof, truth, folds)
    if scorer.keeps_decision:
        decided.decision.record().write(folder.decision)
    told = {
        "metric": str(scorer.metric),
        "value": decided.evaluation.score,
        "value_without": decided.without and decided.without.score,
        "decision": decided.decision.describe(scorer.space),
    }
    return {name: value for name, value in told.items() if value is not None}


def has_intact_predictions(folder: PredictionsFolder, files: Snapshot | None = None) -> bool:
    """Whether the probabilities are there as they were written.

    Args:
        files: what this phase has read so far; None for the files as they are now.
    """
    files = files or Snapshot()
    scores = files.read(ScoreRecord, folder.scores)
    return scores is not None and files.are_intact(folder.probabilities, scores.checksums)


def read_predictions(folder: PredictionsFolder) -> Predictions:
    """Read what `write_predictions` wrote.

    Raises:
        UserError: a file is missing or damaged.
    """
    try:
        with np.load(folder.oof) as oof:
            return Predictions(oof["rows"], oof["probabilities"], np.load(folder.test, mmap_mode="r"))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UserError.at(
            folder.path, f"probabilities cannot be read ({error})", "run the train and ensemble stages again"
        ) from None
