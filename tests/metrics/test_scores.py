"""softvote.metrics.scores: values, standard errors, and what is called noise."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sklearn.metrics

from softvote.metrics import scores

RNG = np.random.default_rng(0)


def random_probabilities(rows: int, classes: int) -> np.ndarray:
    return RNG.dirichlet(np.ones(classes), rows).astype(np.float32)


def test_accuracy_and_log_loss_are_those_of_scikit_learn() -> None:
    probabilities, labels = random_probabilities(500, 7), RNG.integers(0, 7, 500)
    expected = sklearn.metrics.accuracy_score(labels, probabilities.argmax(axis=1))
    assert scores.accuracy(probabilities, labels).value == pytest.approx(expected)
    expected = sklearn.metrics.log_loss(labels, probabilities, labels=range(7))
    assert scores.log_loss(probabilities, labels).value == pytest.approx(expected, rel=1e-5)


def test_standard_error_prints_like_the_textbook_one_on_a_large_set() -> None:
    right = np.arange(28_000) < 0.997 * 28_000
    textbook = math.sqrt(0.997 * 0.003 / 28_000)
    assert str(scores.proportion(right)) == "99.70 ± 0.03 %" == f"99.70 ± {100 * textbook:.2f} %"


@pytest.mark.parametrize("right", [True, False])
@pytest.mark.parametrize("rows", [1, 100, 28_000])
def test_no_mistakes_is_not_certainty(right: bool, rows: int) -> None:
    score = scores.proportion(np.full(rows, right))
    assert score.value == float(right)
    assert 0.15 / rows < score.standard_error < 2 / rows
    assert not str(score).endswith("± 0.00 %")


def test_standard_error_of_accuracy_is_the_spread_over_draws() -> None:
    draws = [scores.proportion(RNG.random(400) < 0.9) for _ in range(2000)]
    spread = np.std([draw.value for draw in draws])
    assert np.mean([draw.standard_error for draw in draws]) == pytest.approx(spread, rel=0.08)


def test_standard_error_of_log_loss_is_that_of_a_mean() -> None:
    probabilities = np.array([[0.5, 0.5], [0.25, 0.75]], np.float32)
    score = scores.log_loss(probabilities, np.array([0, 0]))
    assert score.value == pytest.approx((math.log(2) + math.log(4)) / 2)
    assert score.standard_error == pytest.approx(math.log(2) / 2)
    assert str(score) == "1.0397 ± 0.3466"


def test_losses_that_are_all_alike_print_like_any_other() -> None:
    assert str(scores.Score(0.6931472, 0.0, 50, percent=False)) == "0.6931 ± 0.0000"
    rounding = scores.Score(0.6931472, 1e-17, 50, percent=False)
    assert str(rounding) == "0.693147 ± 0.000000"


def test_a_single_row_has_a_loss_of_unknown_error() -> None:
    score = scores.log_loss(np.array([[0.5, 0.5]], np.float32), np.array([1]))
    assert score.value == pytest.approx(math.log(2)) and math.isnan(score.standard_error)


def test_a_zero_for_the_truth_costs_a_finite_loss() -> None:
    loss = scores.losses(np.array([[0.0, 1.0]], np.float32), np.array([0]))
    assert loss[0] == pytest.approx(-math.log(scores.FLOOR))


def test_squared_error_is_of_the_expected_label() -> None:
    probabilities = np.array([[0.5, 0, 0.5], [0, 0, 1], [1, 0, 0]], np.float32)
    found = scores.squared_error(probabilities, np.array([1, 2, 2]))
    assert found.value == pytest.approx(4 / 3)
    assert found.standard_error == pytest.approx(np.std([0, 0, 4], ddof=1) / math.sqrt(3))
    assert found.rows == 3 and not found.percent


def test_paired_difference_counts_only_rows_where_the_voters_differ() -> None:
    right = np.array([True] * 30 + [False] * 10 + [True] * 960)
    other = np.array([False] * 30 + [True] * 10 + [True] * 960)
    difference = scores.paired_difference(right, other)
    assert difference.value == pytest.approx(0.02)
    naive = np.std(right.astype(float) - other, ddof=1) / math.sqrt(1000)
    assert difference.standard_error == pytest.approx(naive, rel=0.02)
    assert str(difference) == "+2.000 ± 0.636"
    assert difference.verdict == "better"
    assert scores.paired_difference(other, right).verdict == "worse"


def test_voters_that_agree_everywhere_are_not_certain_to_be_equal() -> None:
    right = np.ones(1000, bool)
    difference = scores.paired_difference(right, right)
    assert difference.value == 0 and difference.standard_error == pytest.approx(1 / 1002)
    assert difference.verdict == "noise"


@pytest.mark.parametrize(("won", "expected"), [(1, "noise"), (4, "noise"), (5, "better")])
def test_a_handful_of_rows_is_noise(won: int, expected: str) -> None:
    right = np.ones(28_000, bool)
    assert scores.paired_difference(right, np.arange(28_000) >= won).verdict == expected


def test_words() -> None:
    assert scores.verdict_text(0.021, 0.01) == "better by more than two standard errors"
    assert scores.verdict_text(-0.021, 0.01) == "worse by more than two standard errors"
    assert scores.verdict_text(0.02, 0.01) == scores.verdict_text(-0.02, 0.01)
    assert scores.verdict_text(0.02, 0.01).startswith("noise")
    assert scores.verdict_text(math.nan, 0.01).startswith("noise")


def test_what_cannot_be_scored_is_refused() -> None:
    two = random_probabilities(2, 3)
    for probabilities, labels in [(two[:0], []), (two, [0]), (two, [0, 3]), (two, [-1, 0])]:
        with pytest.raises(ValueError):
            scores.accuracy(probabilities, np.array(labels, np.int64))
        with pytest.raises(ValueError):
            scores.log_loss(probabilities, np.array(labels, np.int64))
    with pytest.raises(ValueError, match="no rows"):
        scores.proportion(np.zeros(0, bool))
    with pytest.raises(ValueError, match="cannot pair"):
        scores.paired_difference(np.ones(2, bool), np.ones(3, bool))
