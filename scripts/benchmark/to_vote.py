"""From CSV files to a vote, timed."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmark.bodies import run_stock
from benchmark.cases import FIVE, ROOT, Case, Facts
from benchmark.inputs import images_of
from benchmark.laps import Order
from benchmark.processes import dismiss, loops, rate
from benchmark.show import print_progress
from benchmark.stock import STOCK_EPOCHS
from softvote.config.pipeline_file import read_pipeline_file
from softvote.ensembling.records import ScoreRecord
from softvote.errors import UserError
from softvote.storage.paths import Workspace

REFERENCE = 99.61
"""Accuracy of the heterogeneous five as published, %."""


def time_to_vote(cases: Sequence[Case], root: Path, parsed: argparse.Namespace) -> Facts:
    """Run the stages, then the stock loop for comparison; print minutes and the vote's accuracy."""
    path = ROOT / "pipelines" / f"{FIVE}.yaml"
    settings = ["folds.train=1", *parsed.set]
    pipeline = read_pipeline_file(path, settings)
    workspace = Workspace(root)
    minutes = {stage: _minutes_of(stage, path, root, settings) for stage in ("folds", "train", "ensemble")}
    scores = workspace.pipeline(FIVE).predictions(pipeline.ensemble.name).scores
    record = ScoreRecord.read(scores)
    assert record is not None, scores
    score = record.score("accuracy")
    rows = len(images_of(cases[0], root).values) - score.rows
    stock = {case.network: _stock_minutes(case, root, rows, parsed) for case in cases}
    total, of_stock = sum(minutes.values()), sum(stock.values())
    lower = REFERENCE / 100 - score.value
    reaches = "reaches" if lower <= 2 * score.standard_error else "does not reach"
    if lower > 0 and reaches == "reaches":
        reaches = "is within two standard errors of"
    print(
        f"from CSV to the vote: {total:.1f} minutes ({', '.join(f'{s} {m:.1f}' for s, m in minutes.items())})"
    )
    print(f"the vote on a held-out part of {score.rows:,} rows: {score}; it {reaches} {REFERENCE} %")
    print(f"{STOCK_EPOCHS} epochs of the stock loop on {rows:,} rows: {of_stock:.0f} minutes, as it runs now")
    return {
        "settings": settings,
        "minutes": minutes | {"total": total},
        "accuracy": {"value": score.value, "standard_error": score.standard_error, "rows": score.rows},
        "stock_minutes": stock | {"total": of_stock, "epochs": STOCK_EPOCHS, "rows": rows},
    }


def _minutes_of(stage: str, pipeline: Path, root: Path, settings: Sequence[str]) -> float:
    """Run one command, as a person does."""
    words = [sys.executable, "-m", "softvote", "--root", str(root), stage, str(pipeline)]
    words += [word for setting in settings for word in ("--set", setting)]
    print_progress(f"softvote {stage}")
    started = time.perf_counter()
    # In a process group of its own, because Ctrl-C is answered here, in one line.
    process = subprocess.Popen(words, stdout=sys.stderr, process_group=0)
    try:
        code = process.wait()
    finally:
        process.terminate()
        process.wait()
    if code:
        raise UserError(f"softvote {stage}: ended with exit code {code}; it says why above")
    return (time.perf_counter() - started) / 60


def _stock_minutes(case: Case, root: Path, rows: int, parsed: argparse.Namespace) -> float:
    """Of the stock loop's epochs, for all members of this network."""
    with loops((f"{case.network}, stock", run_stock, case, root)) as running:
        rates = [rate(running, Order("lap", parsed.seconds)) for _ in range(parsed.repeats)]
        dismiss(running)
    print_progress(f"{case.network}: stock loop {statistics.fmean(rates):,.0f} images/s")
    return case.times * STOCK_EPOCHS * rows / statistics.fmean(rates) / 60
