"""Rare classes: weights of the loss, and which rows an epoch feeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from softvote.seeds import derive_seed
from softvote.task import Task


def class_weights(
    wanted: Literal["balanced"] | Mapping[str, float] | None,
    task: Task,
    classes: Sequence[str],
    labels: NDArray[np.int64],
) -> NDArray[np.float32] | None:
    """By what the losses of training rows are multiplied.

    `balanced` is scikit-learn's formula over the classes that occur: rows / (classes * rows of this class).
    Each tag, and each of several targets, is balanced by itself.

    Args:
        wanted: as `Recipe.class_weights` has it.
        classes: K names of the columns.
        labels: of the training rows, as `Task.kind` has them.

    Returns:
        float32 (2, K), as `HeadSpec.class_weights`; None where all weigh alike.
    """
    if wanted is None:
        return None
    if wanted != "balanced":
        targets = [name.partition("=")[0] if task.kind == "targets" else name for name in classes]
        each = [
            wanted.get(name, wanted.get(target, 1.0)) for name, target in zip(classes, targets, strict=True)
        ]
        return np.tile(np.array(each, np.float32), (2, 1))
    named = task.columns(labels)
    present = named.sum(axis=0)
    weights = np.ones((2, task.num_classes))
    if task.blocks:
        for block in task.blocks:
            counts = present[block]
            weights[1, block] = len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    else:
        counts = np.stack([len(labels) - present, present])
        weights = len(labels) / (np.count_nonzero(counts, axis=0) * np.maximum(counts, 1))
    return weights.astype(np.float32)


def row_weights(task: Task, labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """How often balanced sampling feeds each row, float64 (N,), up to a factor.

    The rarest that a row shows decides, as in the repeat factors of LVIS (Gupta, Dollár and Girshick 2019):
    one by the number of rows that show it. Rows without a tag count as a tag of their own.
    """
    named = task.columns(labels)
    if not task.blocks:
        named = np.concatenate([named, ~named.any(axis=1, keepdims=True)], axis=1)
    rarity = 1 / np.maximum(named.sum(axis=0), 1)
    weights: NDArray[np.float64] = (named * rarity).max(axis=1)
    return weights


def draw_balanced(weights: NDArray[np.float64], seed: int, epoch: int) -> NDArray[np.int64]:
    """Draw the rows of an epoch, as many as there are, each as often as its weight says.

    Drawn systematically: each row comes its expected number of times, rounded up or down, and so do the rows
    of each weight together; which ones are rounded up is drawn.

    Args:
        weights: float64 (N,), positive.
        seed: of the training.
        epoch: from 0.

    Returns:
        int64 (N,), shuffled. What stands there, modulo N, is the row's position; divided by N it is how often
        the row came before in this epoch, so that each time it is augmented anew.
    """
    random, count = np.random.default_rng(derive_seed(seed, "balanced", epoch)), len(weights)
    order = random.permutation(count)
    order = order[np.argsort(weights[order], kind="stable")]
    ends = np.cumsum(weights[order])
    marks = (np.arange(count) + random.random()) * (ends[-1] / count)
    drawn = np.sort(order[np.searchsorted(ends, marks, side="right").clip(max=count - 1)])
    first = np.searchsorted(drawn, drawn)
    times = np.arange(count) - first
    found: NDArray[np.int64] = random.permutation(drawn + times * count)
    return found
