"""Accuracy: both loops from the same seeds on the same slice of digits."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from contextlib import nullcontext
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmark.cases import Case, Facts
from benchmark.inputs import Images, images_of
from benchmark.means import format_mean, summary
from benchmark.ours import as_the_command_does, train_ours
from benchmark.processes import Loop
from benchmark.show import print_progress
from benchmark.stock import train_stock
from softvote.inference.predictor import Predictor
from softvote.metrics.scores import verdict_text
from softvote.reporting.tables import render
from softvote.scheduling.resources import split_cores
from softvote.words import counted

MOST_SCORED = 10_000


def compare_accuracy(cases: Sequence[Case], root: Path, parsed: argparse.Namespace) -> Facts:
    """Both loops from the same seeds on the same slice; print which is better, if any."""
    found, lines = dict[str, Facts](), []
    for case in cases:
        each = found[case.network] = _accuracies(case, root, parsed)
        stock, ours = each["stock"], each["ours"]
        difference = ours["mean"] - stock["mean"]
        error = math.hypot(stock["standard_error"], ours["standard_error"])
        each["difference"] = {"mean": difference, "standard_error": error}
        each["in_words"] = f"ours is {verdict_text(difference, error)}".replace(
            "is noise", "differs by noise"
        )
        shown = [format_mean({key: 100 * of[key] for key in ("mean", "standard_error")}, 3)
                 for of in (stock, ours, each["difference"])]  # fmt: skip
        lines.append([case.network, f"{each['rows']:,}", f"{each['scored']:,}", *shown, each["in_words"]])
    print(f"\n{counted(parsed.epochs, 'epoch')}, {counted(parsed.seeds, 'seed')}; ", end="")
    print("accuracy in %, its standard error over the seeds")
    print(render(["network", "rows", "scored", "stock", "ours", "difference", "in words"], lines), end="")
    return {
        "settings": {"seeds": parsed.seeds, "epochs": parsed.epochs, "rows": parsed.rows},
        "networks": found,
    }


def _accuracies(case: Case, root: Path, parsed: argparse.Namespace) -> Facts:
    """Of every seed's training by both loops, by turns."""
    learnt, scored = slices(len(images_of(case, root).values), parsed.rows)
    bodies = {"stock": accuracy_of_stock, "ours": accuracy_of_ours}
    found = dict[str, list[float]](stock=[], ours=[])
    for seed in range(parsed.seeds):
        for name, body in bodies.items():
            label = f"{case.network}, {name}, seed {seed}"
            with as_the_command_does() if name == "ours" else nullcontext():
                loop = Loop(label, body, case, root, learnt, scored, parsed.epochs, seed)
            try:
                found[name].append(loop.receive())
            finally:
                loop.close()
            print_progress(f"{label} of {parsed.seeds}: {100 * found[name][-1]:.2f} %")
    sizes = {"rows": len(learnt), "scored": len(scored)}
    return sizes | {name: summary(each) for name, each in found.items()}


def slices(count: int, rows: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows to learn from, at most two thirds of all, and others to score."""
    order = np.random.default_rng(2026).permutation(count)
    learnt, others = np.split(order, [min(rows, 2 * count // 3)])
    return learnt, others[:MOST_SCORED]


def accuracy_of_stock(
    line: Connection, case: Case, root: Path, learnt: NDArray[np.int64], scored: NDArray[np.int64],
    epochs: int, seed: int,
) -> float:  # fmt: skip
    """Share of the scored rows that a training by the stock loop names right."""
    images = images_of(case, root)
    return _accuracy(
        train_stock(case, images.take(learnt), epochs, seed, lambda _: None), images.take(scored)
    )


def accuracy_of_ours(
    line: Connection, case: Case, root: Path, learnt: NDArray[np.int64], scored: NDArray[np.int64],
    epochs: int, seed: int,
) -> float:  # fmt: skip
    """Share of the scored rows that a training of ours names right."""
    torch.set_num_threads(split_cores(case.trainings)[1])  # as the local engine; some layers depend on it
    images = images_of(case, root)
    return _accuracy(train_ours(case, images.take(learnt), epochs, seed), images.take(scored))


def _accuracy(predictor: Predictor, images: Images) -> float:
    return float((predictor.probabilities(images.pixels).argmax(1) == images.values).mean())
