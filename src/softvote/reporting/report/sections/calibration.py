"""Whether probabilities mean what they say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from softvote.reporting.report.blocks import Block, Cell, DataTable, Paragraph
from softvote.reporting.report.charts import draw_histograms, draw_reliability
from softvote.reporting.report.section import ReportData, needs_members, needs_one_label, section

_BINS = 15
_DRAWS = 200


@section(
    "calibration",
    "Reliability",
    "When it says 90 %, is it right nine times out of ten?",
    needs_members,
    needs_one_label,
    rank=60,
)
def build_calibration(data: ReportData) -> Sequence[Block]:
    """Build the reliability diagram, and the expected calibration error of every voter."""
    right = (data.guesses == data.labels).astype(np.float64)
    confidence = data.confidence.astype(np.float64)
    sure, share, error = _bin(confidence, right)
    diagram = draw_reliability(f"Reliability of {data.shown[0]}", sure, share, error)
    groups = {"right": confidence[right == 1], "wrong": confidence[right == 0]}
    spread = draw_histograms("How sure it was", groups, "probability of the answer")
    voters = {name: each.oof for name, each in data.members.items()}
    if data.vote is not None:
        voters = {data.pipeline.ensemble.name: data.vote.oof} | voters
    rows = [_judge(name, oof, data.labels) for name, oof in voters.items()]
    note = (
        f"Expected calibration error (Naeini et al. 2015): the mean distance from the diagonal over {_BINS} "
        "bins of equal width, weighted by rows. It is never below 0, so that a perfectly calibrated voter "
        "shows some too: by chance is its 95th percentile, drawn from these very probabilities."
    )
    header = ["voter", "calibration error", "by chance", "mean probability", "right", "it is"]
    return [diagram, spread, DataTable(header, rows, "Expected calibration error"), Paragraph(note, "note")]


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


def _judge(name: str, oof: NDArray[np.float32], labels: NDArray[np.int64]) -> list[Cell | str]:
    confidence = oof.max(axis=1).astype(np.float64)
    right = (oof.argmax(axis=1) == labels).astype(np.float64)
    error = calibration_error(confidence, right)
    random = np.random.default_rng(0)
    drawn = [
        calibration_error(confidence, (random.random(len(right)) < confidence).astype(np.float64))
        for _ in range(_DRAWS if len(right) <= 20_000 else _DRAWS // 4)
    ]
    chance = float(np.quantile(drawn, 0.95))
    difference = right.mean() - confidence.mean()
    words = "as chance has it" if error <= chance else "too modest" if difference > 0 else "too sure"
    return [
        name,
        Cell(f"{100 * error:.2f} %", error),
        Cell(f"{100 * chance:.2f} %", chance),
        Cell(f"{100 * confidence.mean():.2f} %", float(confidence.mean())),
        Cell(f"{100 * right.mean():.2f} %", float(right.mean())),
        Cell(words, tone="" if error <= chance else "bad"),
    ]
