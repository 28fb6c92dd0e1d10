"""What a submission may be expected to score: better than cross-validation, because more networks vote.

Cross-validation scores each row by the networks of one fold, and the submission averages the networks of all
folds. What that gains can be seen on test rows without their labels. The submission's own probabilities say
how likely each label is, once they are sharpened or softened until labels drawn from them give the networks
of single folds the score that cross-validation gave them; labels drawn so then score the submission.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from softvote.ensembling.vote import Probabilities
from softvote.metrics import Labels
from softvote.metrics.scores import Score
from softvote.seeds import uniforms
from softvote.task import Task

Worth = Callable[[Probabilities, Labels], float]
"""What probabilities score against labels, as in `softvote.task.TaskKind`."""


MOST_TEST_ROWS = 20_000
"""So many rows spread over the test rows tell the gain well enough."""


_DRAWS = 12
_STEPS = 12
_HOTTEST = 8.0


def expected_score(
    cv: Score, folds: Sequence[Probabilities], submitted: Probabilities, task: Task, worth: Worth
) -> Score:
    """The score of cross-validation, and what averaging the networks of all folds adds to it.

    Agrees with what test labels say as long as test rows are as the training rows are. The idea that the
    disagreement of calibrated networks tells their error without labels is that of Jiang et al. (2022),
    "Assessing generalization of SGD via disagreement".

    Args:
        cv: the score of out-of-fold rows.
        folds: F arrays float32 (T, K), what the networks of one fold alone say of the test rows.
        submitted: float32 (T, K), what all of them say together.
        task: what the columns mean.
        worth: the metric of `cv`.

    Returns:
        The expected score of the test rows. Its standard error is that of `cv` and the spread of the gain
        over drawn labels, together.

    Raises:
        ValueError: no test rows, or arrays of different shapes.
    """
    if len(submitted) == 0 or any(fold.shape != submitted.shape for fold in folds):
        raise ValueError(f"cannot compare {[fold.shape for fold in folds]} with {submitted.shape}")
    if len(folds) < 2:
        return cv
    draws = [_numbers(draw, len(submitted), task) for draw in range(_DRAWS)]

    def of_single_folds(temperature: float) -> NDArray[np.float64]:
        likely = _apply_temperature(submitted, temperature, task)
        labels = [draw_labels(likely, numbers, task) for numbers in draws]
        return np.array([np.mean([worth(fold, drawn) for fold in folds]) for drawn in labels])

    temperature = _find_temperature(lambda each: float(of_single_folds(each).mean()), cv.value)
    likely = _apply_temperature(submitted, temperature, task)
    of_all = np.array([worth(submitted, draw_labels(likely, numbers, task)) for numbers in draws])
    gains = of_all - of_single_folds(temperature)
    error = math.hypot(cv.standard_error, float(gains.std(ddof=1)))
    return Score(cv.value + float(gains.mean()), error, cv.rows, cv.percent)


def _find_temperature(score_at: Callable[[float], float], wanted: float) -> float:
    """The temperature 1/8..8 at which a score that rises or falls with it is nearest to the one wanted."""
    low, high = -math.log(_HOTTEST), math.log(_HOTTEST)
    rises = score_at(math.exp(high)) > score_at(math.exp(low))
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if (score_at(math.exp(middle)) < wanted) == rises:
            low = middle
        else:
            high = middle
    return math.exp((low + high) / 2)


def _apply_temperature(probabilities: Probabilities, temperature: float, task: Task) -> NDArray[np.float64]:
    """Probabilities to the power of 1 / temperature, normalised again; of tags, their odds."""
    logs = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny), dtype=np.float64) / temperature
    if task.kind == "tags":
        of_absence = np.log(np.maximum(1 - probabilities, np.finfo(np.float32).tiny), dtype=np.float64)
        return 1 / (1 + np.exp(np.clip(of_absence / temperature - logs, -700, 700)))
    for block in task.blocks:
        logs[:, block] -= logs[:, block].max(axis=1, keepdims=True)
    powers: NDArray[np.float64] = np.exp(logs)
    for block in task.blocks:
        powers[:, block] /= powers[:, block].sum(axis=1, keepdims=True)
    return powers


def _numbers(draw: int, rows: int, task: Task) -> NDArray[np.float32]:
    """Uniform in [0, 1), one per row and label; for all temperatures the same, so scores move smoothly."""
    return uniforms(draw, np.arange(rows), task.num_classes if task.kind == "tags" else len(task.blocks))


def draw_labels(probabilities: NDArray[np.float64], numbers: NDArray[np.float32], task: Task) -> Labels:
    """Labels drawn from probabilities.

    Args:
        probabilities: (T, K).
        numbers: float32, uniform in [0, 1): (T, K) of tags, else (T, 1) or one per target.
        task: what the columns mean.

    Returns:
        int64 (T,), of tags (T, K), of several targets one per target.
    """
    if task.kind == "tags":
        return (numbers < probabilities).astype(np.int64)
    drawn = [
        # A sum that ends below 1 by rounding must not give a label past the last.
        np.minimum(
            (np.cumsum(probabilities[:, block], axis=1) <= of_block[:, None]).sum(axis=1), _last(block)
        )
        for block, of_block in zip(task.blocks, numbers.T, strict=True)
    ]
    return drawn[0] if task.is_single_label else np.stack(drawn, axis=1)


def _last(block: slice) -> int:
    return int(block.stop - block.start) - 1
