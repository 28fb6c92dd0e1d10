"""Whether probabilities mean what they say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from softvote.reporting.report.blocks import Block, Cell, DataTable, Paragraph, percent_cell
from softvote.reporting.report.charts import draw_histograms, draw_reliability
from softvote.reporting.report.section import ReportData, needs_members, section

_BINS = 15
_DRAWS = 200


@section(
    "calibration",
    "Reliability",
    "When it says 90 %, is it right nine times out of ten?",
    needs_members,
    rank=60,
)
def build_calibration(data: ReportData) -> Sequence[Block]:
    """Build the reliability diagram, and the expected calibration error of every voter."""
    are_tags = data.task.kind == "tags"
    confidence, right = _pair(data, data.oof)
    sure, share, error = _bin(confidence, right)
    axes = (
        ("probability of a tag", "share that has it")
        if are_tags
        else ("how sure it was", "share that was right")
    )
    diagram = draw_reliability(f"Reliability of {data.shown[0]}", sure, share, error, axes)
    words = ("has the tag", "has it not") if are_tags else ("right", "wrong")
    groups = {words[0]: confidence[right == 1], words[1]: confidence[right == 0]}
    unit, what = (
        ("probability of a tag", "tags of images") if are_tags else ("probability of the answer", "answers")
    )
    spread = draw_histograms("How sure it was", groups, unit, what=what)
    rows = [_judge(name, *_pair(data, oof), are_tags) for name, oof in data.voters.items()]
    note = (
        f"Expected calibration error (Naeini et al. 2015): the mean distance from the diagonal over {_BINS} "
        "bins of equal width, weighted by rows. It is never below 0, so that a perfectly calibrated voter "
        "shows some too: by chance is its 95th percentile, drawn from these very probabilities."
    )
    if are_tags:
        note += " Each tag of each image is one row here."
    header = ["voter", "calibration error", "by chance", "mean probability", words[0], "it is"]
    return [diagram, spread, DataTable(header, rows, "Expected calibration error"), Paragraph(note, "note")]


def _pair(data: ReportData, oof: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How probable something was called, and whether it is so, 0 or 1: each tag, or the most probable answer.

    The answers to several targets stand one behind the other.
    """
    if data.task.kind == "tags":
        return oof.reshape(-1).astype(np.float64), data.labels.reshape(-1).astype(np.float64)
    labels = data.labels.reshape(len(oof), -1)
    parts = [oof[:, block] for block in data.task.blocks]
    right = [part.argmax(axis=1) == labels[:, target] for target, part in enumerate(parts)]
    confidence = np.concatenate([part.max(axis=1) for part in parts]).astype(np.float64)
    return confidence, np.concatenate(right).astype(np.float64)


def _bin(
    confidence: NDArray[np.float64], right: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Mean confidence, share right and its standard error of each bin that holds rows."""
    which = _bins_of(confidence)
    counts = np.bincount(which, minlength=_BINS)
    held = counts > 0
    sure = np.bincount(which, confidence, _BINS)[held] / counts[held]
    share = np.bincount(which, right, _BINS)[held] / counts[held]
    shrunk = (share * counts[held] + 2) / (counts[held] + 4)  # as softvote.metrics.scores does
    return sure, share, np.sqrt(shrunk * (1 - shrunk) / (counts[held] + 4))


def _bins_of(confidence: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.minimum((confidence * _BINS).astype(np.int64), _BINS - 1)


def calibration_error(confidence: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    """Expected calibration error, 0..1, over bins of equal width.

    Args:
        confidence: (N,), probability of the answer, 0..1.
        right: (N,), 1 where the answer is right, else 0.
    """
    gaps = np.bincount(_bins_of(confidence), right - confidence, _BINS)
    return float(np.abs(gaps).sum() / len(right))


def _judge(
    name: str, confidence: NDArray[np.float64], right: NDArray[np.float64], are_tags: bool
) -> list[Cell | str]:
    error = calibration_error(confidence, right)
    random, count = np.random.default_rng(0), len(right)
    draws = _DRAWS if count <= 20_000 else _DRAWS // 4 if count <= 200_000 else _DRAWS // 10
    drawn = [
        calibration_error(confidence, (random.random(count) < confidence).astype(np.float64))
        for _ in range(draws)
    ]
    chance = float(np.quantile(drawn, 0.95))
    too_low = right.mean() > confidence.mean()
    off = ("too low", "too high") if are_tags else ("too modest", "too sure")
    words = "as chance has it" if error <= chance else off[0] if too_low else off[1]
    return [
        name,
        *map(percent_cell, (error, chance, float(confidence.mean()), float(right.mean()))),
        Cell(words, tone="" if error <= chance else "bad"),
    ]
