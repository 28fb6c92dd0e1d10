"""softvote.ensembling.comparison: every rule on real members, and the vote that applies its weights."""

from __future__ import annotations

import dataclasses
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scorers import scorer_of
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

from softvote.ensembling import comparison, vote
from softvote.ensembling.comparison import ComparisonRow
from softvote.ensembling.rules import RULES
from softvote.ensembling.scorer import Scorer
from softvote.errors import UserError
from softvote.metrics import Labels, scores
from softvote.metrics.scores import Difference, Score
from softvote.reporting.comparison import render_table
from softvote.task import TaskKind

OF_DIGITS = scorer_of(10)
NAMES = ["logistic", "bayes", "neighbours", "tree"]

every_rule = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
fitted_rules = pytest.mark.parametrize(
    "rule", [rule for rule in RULES.values() if rule.fitted], ids=lambda rule: rule.name
)
both_spaces = pytest.mark.parametrize("space", ["probability", "logit"])


@cache
def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Out-of-fold probabilities (4, 900, 10) of four classifiers, labels and folds."""
    images, labels = (part[:900] for part in load_digits(return_X_y=True))
    folds = np.arange(900) % 3
    classifiers = [
        LogisticRegression(C=0.02, tol=1e-2),
        GaussianNB(var_smoothing=1e-2),
        KNeighborsClassifier(60),
        DecisionTreeClassifier(max_depth=5, random_state=0),
    ]
    split = PredefinedSplit(folds)
    members = [
        cross_val_predict(c, images / 16, labels, cv=split, method="predict_proba") for c in classifiers
    ]
    return np.stack(members).astype(np.float32), labels, folds


def random_members(members: int, rows: int, classes: int) -> np.ndarray:
    rng = np.random.default_rng(members + rows + classes)
    return rng.dirichlet(np.full(classes, 0.3), (members, rows)).astype(np.float32)


# ---------------------------------------------------------------- applying weights


@both_spaces
@pytest.mark.parametrize(("members", "rows", "classes"), [(1, 5, 2), (3, 9000, 4), (4, 1, 37)])
def test_rows_sum_to_one_in_float32(space: vote.Space, members: int, rows: int, classes: int) -> None:
    weights = np.linspace(1, 2, members) / np.linspace(1, 2, members).sum()
    voted = vote.soft_vote(random_members(members, rows, classes), weights, space)
    assert voted.dtype == np.float32 and voted.shape == (rows, classes)
    np.testing.assert_allclose(voted.sum(axis=1), 1, atol=1e-6)
    assert (voted >= 0).all()


@both_spaces
def test_one_member_votes_as_it_is(space: vote.Space) -> None:
    members = random_members(1, 50, 5)
    np.testing.assert_allclose(vote.soft_vote(members, np.ones(1), space), members[0], atol=1e-6)


@both_spaces
def test_rows_that_sum_to_one_only_nearly_are_mended(space: vote.Space) -> None:
    nearly = (random_members(2, 50, 5) * 1.0009).astype(np.float32)
    voted = vote.soft_vote(nearly, np.array([0.5, 0.5]), space)
    np.testing.assert_allclose(voted.sum(axis=1), 1, atol=1e-6)


def test_probabilities_are_averaged_by_weight() -> None:
    members = random_members(3, 5000, 4)
    weights = np.array([0.5, 0.3, 0.2])
    expected = np.einsum("m,mnk->nk", weights, members)
    np.testing.assert_allclose(vote.soft_vote(members, weights), expected, atol=1e-6)


def test_mean_of_logits_is_the_softmax_of_summed_logits() -> None:
    logits = np.random.default_rng(0).normal(size=(3, 200, 6)) * 3

    def softmax(z: np.ndarray) -> np.ndarray:
        shares: np.ndarray = np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True)
        return shares

    weights = np.array([0.2, 0.2, 0.6])
    voted = vote.soft_vote(softmax(logits).astype(np.float32), weights, "logit")
    np.testing.assert_allclose(voted, softmax(np.einsum("m,mnk->nk", weights, logits)), atol=1e-6)


@both_spaces
def test_a_row_is_voted_on_by_itself(space: vote.Space) -> None:
    members, weights = random_members(2, 9000, 3), np.array([0.7, 0.3])
    whole = vote.soft_vote(members, weights, space)
    parts = [vote.soft_vote(members[:, rows], weights, space) for rows in (slice(0, 77), slice(77, 9000))]
    np.testing.assert_allclose(whole, np.concatenate(parts), rtol=1e-6)


@both_spaces
def test_zeros_are_safe(space: vote.Space) -> None:
    sure = np.array([[1, 0, 0]], np.float32)
    opposed = np.array([[0, 1, 0]], np.float32)
    voted = vote.soft_vote([sure, opposed], np.array([0.5, 0.5]), space)
    np.testing.assert_allclose(voted, [[0.5, 0.5, 0]], atol=1e-6)


LABELS = np.arange(40) % 3


def test_members_may_be_memory_mapped(tmp_path: Path) -> None:
    members, mapped = random_members(2, 40, 3), []
    for index, member in enumerate(members):
        np.save(tmp_path / f"{index}.npy", member)
        mapped.append(np.load(tmp_path / f"{index}.npy", mmap_mode="r"))
    weights = np.array([0.4, 0.6])
    np.testing.assert_array_equal(vote.soft_vote(mapped, weights), vote.soft_vote(members, weights))
    compared = [
        comparison.compare_members(some, ["a", "b"], LABELS, LABELS % 2, scorer_of(len(some[0][0]))).rows
        for some in (members, mapped)
    ]
    assert compared[0] == compared[1]


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ([np.nan, 0.5, 0.5], "row 3.*smallest nan"),
        ([np.inf, 0.5, 0.5], "row 3.*sum inf"),
        ([-0.2, 0.6, 0.6], "row 3.*smallest -0.2"),
        ([0.5, 0.5, 0.002], "row 3.*sum 1.002"),
    ],
)
def test_what_holds_no_probabilities_is_named(values: list[float], what: str) -> None:
    members = random_members(2, 6, 3)
    members[1, 3] = values
    with pytest.raises(UserError, match=f"member second: {what}"):
        vote.soft_vote(members, np.array([0.5, 0.5]), names=["first", "second"])
    with pytest.raises(UserError, match="member second"):
        comparison.compare_members(
            members, ["first", "second"], np.zeros(6, int), np.arange(6) % 2, scorer_of(3)
        )


def test_the_row_is_named_in_whatever_block_it_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vote, "_BLOCK", 4)
    members = random_members(2, 11, 3)
    members[1, 9] = 0
    with pytest.raises(UserError, match="member number 1: row 9 "):
        comparison.check_members(members)


def test_members_of_other_shapes_are_named() -> None:
    first, short = random_members(1, 6, 3)[0], random_members(1, 5, 3)[0]
    with pytest.raises(UserError, match=r"member number 1: .*\(5, 3\).*\(6, 3\)"):
        vote.soft_vote([first, short], np.array([0.5, 0.5]))
    with pytest.raises(UserError, match="two or more classes"):
        comparison.check_members([np.ones((6, 1), np.float32)])
    with pytest.raises(UserError, match="no members"):
        comparison.check_members([])


@pytest.mark.parametrize("weights", [[1.0], [0.5, 0.6], [1.5, -0.5], [np.nan, 1.0]])
def test_weights_off_the_simplex_are_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="weights"):
        vote.soft_vote(random_members(2, 3, 3), np.array(weights))


# ---------------------------------------------------------------- rules


@every_rule
@pytest.mark.parametrize("count", [1, 2, 4])
def test_weights_lie_on_the_simplex(rule: comparison.Rule, count: int) -> None:
    oof, labels, _ = digits()
    weights = rule.fit(oof[:count], labels, OF_DIGITS)
    assert weights.shape == (count,) and (weights >= 0).all()
    assert weights.sum() == pytest.approx(1)


@every_rule
def test_weights_follow_the_members_order_and_repeat(rule: comparison.Rule) -> None:
    oof, labels, _ = digits()
    order = [2, 0, 3, 1]
    np.testing.assert_allclose(
        rule.fit(oof[order], labels, OF_DIGITS), rule.fit(oof, labels, OF_DIGITS)[order], atol=1e-9
    )


@every_rule
def test_two_classes_are_enough(rule: comparison.Rule) -> None:
    members, labels = random_members(3, 40, 2), np.arange(40) % 2
    voted = comparison.cross_fit(rule, members, labels, np.arange(40) // 2 % 2, scorer_of(2))
    assert voted is not None and voted.shape == (40, 2)


def test_the_pipeline_schema_knows_every_rule() -> None:
    from softvote.config.pipeline import EnsembleConfig

    allowed = EnsembleConfig.model_json_schema()["properties"]["rule"]["enum"]
    assert sorted(allowed) == sorted(["auto", "shares", *RULES])


def fit_and_score(name: str, oof: np.ndarray, labels: np.ndarray) -> float:
    voted = vote.soft_vote(oof, RULES[name].fit(oof, labels, scorer_of(oof[0].shape[1])))
    return scores.log_loss(voted, labels).value


def test_log_loss_weights_are_no_worse_than_the_mean_or_any_member_where_fitted() -> None:
    oof, labels, _ = digits()
    fitted = fit_and_score("log_loss", oof, labels)
    singles = [scores.log_loss(member, labels).value for member in oof]
    assert fitted < fit_and_score("mean", oof, labels) - 0.01
    assert fitted < min(singles) + 1e-5


@pytest.mark.parametrize("pair", [(0, 1), (0, 2), (1, 3), (2, 3)])
def test_log_loss_weights_equal_a_search_over_all_pairs_of_weights(pair: tuple[int, int]) -> None:
    oof, labels, _ = digits()
    oof = oof[list(pair)]
    grid = np.linspace(0, 1, 101)
    tried = [scores.log_loss(vote.soft_vote(oof, np.array([w, 1 - w])), labels).value for w in grid]
    weights = RULES["log_loss"].fit(oof, labels, scorer_of(oof[0].shape[1]))
    assert fit_and_score("log_loss", oof, labels) < min(tried) + 2e-6
    assert weights[0] == pytest.approx(grid[np.argmin(tried)], abs=0.011)


def test_log_loss_weights_survive_members_that_are_all_wrong() -> None:
    wrong = np.array([[0, 1], [0, 1]], np.float32)
    weights = RULES["log_loss"].fit([wrong, wrong], np.zeros(2, int), scorer_of(wrong.shape[1]))
    np.testing.assert_allclose(weights, [0.5, 0.5])


@pytest.mark.parametrize("rule", [rule for rule in RULES.values() if rule.fitted], ids=lambda rule: rule.name)
@pytest.mark.parametrize("kind", ["tags", "targets"])
def test_weights_are_of_those_who_know_all_tags_and_targets(rule: comparison.Rule, kind: TaskKind) -> None:
    """One member always says the same of the last tag or target, which half of the rows do not have."""
    labels = np.stack([np.arange(40) % 2, np.arange(40) // 20], axis=1)
    shown = 0.1 + 0.8 * labels
    told = shown.copy()
    told[:, 1] = 0.9
    if kind == "targets":
        shown, told = (np.stack([1 - p, p], axis=2).reshape(40, 4) for p in (shown, told))
    metric, columns = ("f1", 2) if kind == "tags" else ("accuracy", 4)
    members = [told.astype(np.float32), shown.astype(np.float32)]
    weights = rule.fit(members, labels, scorer_of(columns, metric, kind))
    np.testing.assert_allclose(weights, [0, 1], atol=1e-6)


def test_greedy_passes_over_rounds_that_bring_nothing() -> None:
    """A fourth member makes this bag worse, and a fifth better than ever."""
    members = [np.zeros((1, 1), np.float32), np.ones((1, 1), np.float32)]
    scorer: Any = SimpleNamespace(
        is_plain_accuracy=False,
        worth=lambda bag, labels: -abs(float(bag[0, 0]) - 0.4),
        log_loss=lambda bag, labels: SimpleNamespace(score=Score(0.0, 0.0, 1)),
    )
    weights = RULES["greedy"].fit(members, np.zeros(1, int), scorer)
    np.testing.assert_allclose(weights, [0.6, 0.4])


def test_greedy_gives_all_to_a_member_that_nothing_improves() -> None:
    labels = np.arange(30) % 3
    right = np.eye(3, dtype=np.float32)[labels]
    wrong = np.eye(3, dtype=np.float32)[(labels + 1) % 3]
    np.testing.assert_array_equal(
        RULES["greedy"].fit([wrong, right], labels, scorer_of(wrong.shape[1])), [0, 1]
    )


def test_greedy_is_at_least_as_accurate_as_the_best_member_where_fitted() -> None:
    oof, labels, _ = digits()
    voted = vote.soft_vote(oof, RULES["greedy"].fit(oof, labels, scorer_of(oof[0].shape[1])))
    best = max(scores.accuracy(member, labels).value for member in oof)
    assert scores.accuracy(voted, labels).value > best


def test_greedy_breaks_ties_by_log_loss() -> None:
    labels = np.zeros(4, int)
    unsure, sure = np.tile([[0.6, 0.4]], (4, 1)), np.tile([[0.9, 0.1]], (4, 1))
    weights = RULES["greedy"].fit(
        [unsure.astype(np.float32), sure.astype(np.float32)], labels, scorer_of(sure.shape[1])
    )
    np.testing.assert_array_equal(weights, [0, 1])


def caruana(oof: list[np.ndarray], labels: np.ndarray) -> np.ndarray:
    """Ensemble selection by the words of the rule, on all rows."""
    chosen: list[int] = []
    best, weights = (-1.0, -np.inf), np.zeros(len(oof))
    for size in range(1, 26):
        bags = [sum((oof[i] for i in chosen), np.zeros_like(oof[0])) + member for member in oof]
        worths = [
            (float((bag / np.float32(size)).argmax(1).__eq__(labels).sum()),
             -scores.log_loss(bag / np.float32(size), labels).value)
            for bag in bags
        ]  # fmt: skip
        chosen.append(max(range(len(oof)), key=worths.__getitem__))
        if worths[chosen[-1]] > best:
            best, weights = worths[chosen[-1]], np.bincount(chosen, minlength=len(oof)) / size
    return weights


@pytest.mark.parametrize("sharpness", [1.0, 4.0, 20.0])
def test_greedy_is_ensemble_selection_to_the_letter(sharpness: float) -> None:
    """Also where probabilities are equal, and the first of them counts."""
    oof, labels, _ = digits()
    sharp = oof**sharpness / (oof**sharpness).sum(axis=2, keepdims=True)
    coarse = np.round(sharp[:3] * 4) / 4
    even = np.full_like(oof[:1], 0.1)
    for members in (sharp, coarse, np.concatenate([even, coarse, sharp])):
        members = list(members.astype(np.float32))
        np.testing.assert_array_equal(
            RULES["greedy"].fit(members, labels, scorer_of(members[0].shape[1])), caruana(members, labels)
        )


def test_log_loss_weights_are_the_optimum_among_members_that_are_nearly_alike() -> None:
    """Where expectation-maximisation ends after thousands of steps with most of the way to go."""
    rng, labels = np.random.default_rng(0), np.zeros(3000, int)
    truth = 0.9 + 0.0999 * rng.random((5, 1)) * rng.random((5, 3000))
    members = np.stack([truth, 1 - truth], axis=2).astype(np.float32)
    weights = RULES["log_loss"].fit(members, labels, scorer_of(members[0].shape[1]))
    of_truth = members[:, :, 0].astype(np.float64)
    gain = (of_truth / (weights @ of_truth)).mean(axis=1)
    assert gain.max() - 1 < 1e-6
    assert (weights == 0).any()


def test_greedy_keeps_the_best_bag_not_the_last() -> None:
    # Right only when both weigh the same, which no odd number of rounds allows.
    first = np.array([[0.6, 0.34, 0.06]], np.float32)
    weights = RULES["greedy"].fit([first, first[:, ::-1]], np.array([1]), scorer_of(first.shape[1]))
    np.testing.assert_array_equal(weights, [0.5, 0.5])


# ---------------------------------------------------------------- what a rule is worth


@pytest.mark.parametrize(("name", "space"), [("mean", "probability"), ("mean_logits", "logit")])
def test_plain_rules_vote_with_equal_weights(name: str, space: vote.Space) -> None:
    oof, labels, folds = digits()
    voted = comparison.cross_fit(RULES[name], oof, labels, folds, OF_DIGITS)
    assert voted is not None
    np.testing.assert_array_equal(voted, vote.soft_vote(oof, np.full(4, 0.25), space))


@fitted_rules
def test_a_fold_is_voted_on_without_its_own_labels(rule: comparison.Rule) -> None:
    oof, labels, folds = digits()
    poisoned = np.where(folds == 1, (oof[0].argmin(axis=1)), labels)
    voted = comparison.cross_fit(rule, oof, labels, folds, OF_DIGITS)
    again = comparison.cross_fit(rule, oof, poisoned, folds, OF_DIGITS)
    assert voted is not None and again is not None
    np.testing.assert_array_equal(again[folds == 1], voted[folds == 1])
    assert (again[folds != 1] != voted[folds != 1]).any()


@fitted_rules
def test_each_fold_gets_the_weights_of_the_others(rule: comparison.Rule) -> None:
    oof, labels, folds = digits()
    voted = comparison.cross_fit(rule, oof, labels, folds, OF_DIGITS)
    assert voted is not None
    for fold in range(3):
        own = folds == fold
        weights = rule.fit(oof[:, ~own], labels[~own], OF_DIGITS)
        np.testing.assert_array_equal(voted[own], vote.soft_vote(oof[:, own], weights, rule.space))


@every_rule
def test_one_fold_is_enough_only_for_rules_that_fit_nothing(rule: comparison.Rule) -> None:
    oof, labels, _ = digits()
    voted = comparison.cross_fit(rule, oof, labels, np.zeros(900, int), OF_DIGITS)
    assert (voted is None) == rule.fitted


def test_comparison_scores_members_and_rules() -> None:
    oof, labels, folds = digits()
    table = comparison.compare_members(oof, NAMES, labels, folds, OF_DIGITS).rows
    assert [row.name for row in table] == [*NAMES, *RULES]
    by_name = {row.name: row for row in table}
    assert by_name["tree"].score == scores.accuracy(oof[3], labels)
    assert by_name["mean"].log_loss == scores.log_loss(vote.soft_vote(oof, np.full(4, 0.25)), labels)
    assert by_name["mean"].to_mean is None and by_name["mean"].to_best is not None
    best = max(NAMES, key=lambda name: by_name[name].score.value)  # type: ignore[union-attr]
    assert [row.name for row in table if row.to_best is None] == [best]
    gap = by_name["tree"].score.value - by_name["mean"].score.value  # type: ignore[union-attr]
    assert by_name["tree"].to_mean.value == pytest.approx(gap)  # type: ignore[union-attr]
    gap = by_name["tree"].score.value - by_name[best].score.value  # type: ignore[union-attr]
    assert by_name["tree"].to_best.value == pytest.approx(gap)  # type: ignore[union-attr]
    assert by_name["tree"].words == "worse"


@every_rule
def test_comparison_keeps_what_it_fitted(rule: comparison.Rule) -> None:
    """Each fold's weights are fitted once; those of all rows when they are asked for."""
    oof, labels, folds = digits()
    rows_fitted: list[int] = []

    def fit(oof: vote.Members, labels: Labels, scorer: Scorer) -> vote.Weights:
        rows_fitted.append(len(labels))
        return rule.fit(oof, labels, scorer)

    compared = comparison.compare_members(
        oof, NAMES, labels, folds, OF_DIGITS, [dataclasses.replace(rule, fit=fit)]
    )
    assert rows_fitted == ([600] * 3 if rule.fitted else [900])
    np.testing.assert_array_equal(
        compared.votes[rule.name], comparison.cross_fit(rule, oof, labels, folds, OF_DIGITS)
    )
    np.testing.assert_array_equal(compared.fit_weights(rule.name), rule.fit(oof, labels, OF_DIGITS))
    assert rows_fitted[-1] == 900


def test_comparison_of_a_single_member_in_one_fold() -> None:
    oof, labels, _ = digits()
    table = comparison.compare_members(oof[:1], NAMES[:1], labels, np.zeros(900, int), OF_DIGITS).rows
    assert [row.words for row in table if row.name in ("log_loss", "greedy")] == ["needs two folds"] * 2
    assert comparison.choose_rule("auto", table) == "mean"
    header, _, alone, legend = render_table(table, OF_DIGITS.metric).splitlines()
    assert header.split() == ["voter", "accuracy", "log", "loss"] and alone.startswith(NAMES[0])
    assert legend == "± one standard error; one member alone is its own vote, by every rule."
    with pytest.raises(UserError, match="needs two trained folds"):
        comparison.choose_rule("greedy", table)


def row(name: str, gain: float, error: float, kind: str = "rule") -> comparison.ComparisonRow:
    difference = None if name == "mean" else scores.Difference(gain, error, 1000)
    score = scores.Score(0.9, 0.01, 1000)
    return comparison.ComparisonRow(name, kind, score, score, difference, difference)  # type: ignore[arg-type]


def test_the_mean_stays_unless_a_rule_is_better_by_more_than_two_standard_errors() -> None:
    member = row("strong", 0.05, 0.001, kind="member")
    noise = [member, row("mean", 0, 0), row("log_loss", 0.019, 0.01), row("mean_logits", -0.1, 0.01)]
    assert comparison.choose_rule("auto", noise) == "mean"
    better = [*noise, row("greedy", 0.021, 0.01), row("other", 0.022, 0.001), row("wild", 0.5, 0.3)]
    assert comparison.choose_rule("auto", better) == "other"


def test_a_requested_rule_is_taken_and_an_unknown_one_lists_the_known() -> None:
    table = [row("mean", 0, 0), row("log_loss", -0.1, 0.01)]
    assert comparison.choose_rule("log_loss", table) == "log_loss"
    with pytest.raises(UserError, match="did you mean 'log_loss'"):
        comparison.choose_rule("log_los", table)


def test_the_table_is_aligned_and_narrow() -> None:
    oof, labels, folds = digits()
    lines = render_table(
        comparison.compare_members(oof, NAMES, labels, folds, OF_DIGITS).rows, OF_DIGITS.metric
    ).splitlines()
    assert max(map(len, lines)) <= 110
    body = lines[2 : 2 + len(NAMES) + len(RULES)]
    assert len({line.index("%") for line in body}) == 1
    assert body[4].startswith("= mean ")


def test_words_say_what_each_rule_is_worth_against_the_best_member() -> None:
    same, better = Difference(0.0, 0.001, 100), Difference(0.01, 0.001, 100)
    score = Score(0.9, 0.01, 100)
    table = [
        ComparisonRow("cnn", "member", score, score, same, None),
        ComparisonRow("resnet5", "member", score, score, same, same),
        ComparisonRow("mean", "rule", score, score, None, better),
        ComparisonRow("mean_logits", "rule", score, score, same, same),
        ComparisonRow("log_loss", "rule", score, score, same, same),
        ComparisonRow("greedy", "rule"),
    ]
    *_, legend, first, second = render_table(table, OF_DIGITS.metric).splitlines()
    assert legend.startswith("±")
    assert [first, second] == [
        "mean against the best member alone: better by more than two standard errors",
        "mean_logits, log_loss against the best member alone: noise, not more than two standard errors",
    ]
