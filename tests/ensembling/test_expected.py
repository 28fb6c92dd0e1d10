"""Tests of the score that is expected of a submission."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from softvote.ensembling.expected import _apply_temperature, draw_labels, expected_score
from softvote.metrics import scores
from softvote.metrics.scores import Score
from softvote.task import Task

ROWS = 6000
SINGLE, TAGS = Task(4), Task(3, kind="tags")
TARGETS = Task(5, kind="targets", target_sizes=(2, 3))


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float32]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def right_share(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    return float((probabilities.argmax(axis=1) == labels).mean())


def networks(
    rng: np.random.Generator, signal: float, noise: float, confidence: float, rows: int = ROWS
) -> tuple[list[NDArray[np.float32]], NDArray[np.int64]]:
    """Five networks that see the same signal, each with noise of its own, and are more or less sure of it."""
    labels = rng.integers(0, 4, rows)
    seen = signal * np.eye(4)[labels] + rng.normal(size=(rows, 4))
    return [softmax(confidence * (seen + noise * rng.normal(size=seen.shape))) for _ in range(5)], labels


@pytest.mark.slow_but("1.0-1.0", "2.0-3.0")
@pytest.mark.parametrize("confidence", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("noise", [1.0, 2.0])
def test_the_gain_of_averaging_is_found_without_labels(confidence: float, noise: float) -> None:
    rng = np.random.default_rng(7)
    folds, labels = networks(rng, 3.0, noise, confidence)
    submitted = np.mean(folds, axis=0, dtype=np.float32)
    alone = float(np.mean([right_share(fold, labels) for fold in folds]))
    gain = right_share(submitted, labels) - alone
    cv = scores.score_of_proportion(alone, 8 * ROWS)
    found = expected_score(cv, folds, submitted, SINGLE, right_share)
    assert gain > 0.03
    assert found.value - alone == pytest.approx(gain, rel=0.25)
    assert cv.standard_error < found.standard_error < 0.01


def test_networks_that_agree_gain_nothing() -> None:
    folds, _ = networks(np.random.default_rng(1), 2.0, 0.0, 1.0)
    cv = Score(0.8, 0.01, 500)
    found = expected_score(cv, folds, folds[0], SINGLE, right_share)
    assert found.value == pytest.approx(0.8)


def test_one_fold_is_what_was_scored() -> None:
    folds, _ = networks(np.random.default_rng(1), 2.0, 1.0, 1.0)
    cv = Score(0.8, 0.01, 500)
    assert expected_score(cv, folds[:1], folds[0], SINGLE, right_share) == cv


def test_a_loss_falls() -> None:
    rng = np.random.default_rng(5)
    folds, labels = networks(rng, 2.0, 1.0, 1.0)
    submitted = np.mean(folds, axis=0, dtype=np.float32)

    def worth(probabilities: NDArray[np.float32], drawn: NDArray[np.int64]) -> float:
        return scores.log_loss(probabilities, drawn).value

    alone = float(np.mean([worth(fold, labels) for fold in folds]))
    found = expected_score(Score(alone, 0.01, ROWS, percent=False), folds, submitted, SINGLE, worth)
    assert not found.percent
    assert found.value == pytest.approx(worth(submitted, labels), abs=0.03)
    assert found.value < alone - 0.05


def test_a_temperature_is_a_power_of_probabilities_and_of_the_odds_of_tags() -> None:
    tags = np.array([[0.1, 0.5, 0.8]], np.float32)
    odds = (tags / (1 - tags)) ** 2
    np.testing.assert_allclose(_apply_temperature(tags, 0.5, TAGS), odds / (1 + odds), rtol=1e-5)
    targets = np.array([[0.2, 0.8, 0.5, 0.25, 0.25]], np.float32)
    expected = [[0.04 / 0.68, 0.64 / 0.68, 4 / 6, 1 / 6, 1 / 6]]
    np.testing.assert_allclose(_apply_temperature(targets, 0.5, TARGETS), expected, rtol=1e-5)


@pytest.mark.parametrize("task", [TAGS, TARGETS], ids=lambda task: task.kind)
def test_labels_are_drawn_as_probable_as_they_are(task: Task) -> None:
    shares = {"tags": [0.1, 0.5, 0.9], "targets": [0.3, 0.7, 0.2, 0.0, 0.8]}[task.kind]
    probabilities = np.tile(np.array(shares), (4000, 1))
    columns = 3 if task.kind == "tags" else 2
    numbers = np.random.default_rng(3).random((4000, columns), dtype=np.float32)
    drawn = draw_labels(probabilities, numbers, task)
    if task.kind == "tags":
        counted = drawn.mean(axis=0)
    else:
        counted = np.concatenate(
            [np.bincount(of, minlength=size) / 4000 for of, size in zip(drawn.T, (2, 3), strict=True)]
        )
    assert counted == pytest.approx(shares, abs=0.03)


def test_every_kind_of_task_has_an_expected_score() -> None:
    rng = np.random.default_rng(2)
    folds = [rng.uniform(0.05, 0.95, (500, 3)).astype(np.float32) for _ in range(3)]
    submitted = np.mean(folds, axis=0, dtype=np.float32)

    def worth(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
        return float(((probabilities > 0.5) == labels).mean())

    found = expected_score(Score(0.6, 0.01, 500), folds, submitted, TAGS, worth)
    assert 0.6 < found.value < 1


def test_shapes_that_differ() -> None:
    with pytest.raises(ValueError, match="cannot compare"):
        expected_score(
            Score(0.5, 0.1, 9),
            [np.ones((2, 4), np.float32)] * 2,
            np.ones((3, 4), np.float32),
            SINGLE,
            right_share,
        )
