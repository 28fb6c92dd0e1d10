"""SoftVoting and compare: probabilities of any library, scikit-learn's manners, and mistakes in one line."""

from __future__ import annotations

import pickle
from functools import cache
from typing import Any

import numpy as np
import pytest
from scorers import scorer_of
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.utils.estimator_checks import estimator_checks_generator

import softvote as sv
from softvote.ensembling import comparison, vote
from softvote.ensembling.rules import RULES

CLASSIFIERS = [LogisticRegression(C=0.02, tol=1e-2), GaussianNB(var_smoothing=1e-2), KNeighborsClassifier(60)]


@cache
def digits() -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Out-of-fold probabilities float64 (600, 10) of three classifiers, labels and folds."""
    images, labels = (part[:600] for part in load_digits(return_X_y=True))
    folds = np.arange(600) % 3
    split = PredefinedSplit(folds)
    members = [
        cross_val_predict(each, images / 16, labels, cv=split, method="predict_proba") for each in CLASSIFIERS
    ]
    return members, labels, folds


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_votes_as_in_a_pipeline(rule: str) -> None:
    members, labels, folds = digits()
    fitted = sv.SoftVoting(rule=rule).fit(members, labels, folds)
    oof = np.stack(members).astype(np.float32)
    assert fitted.rule_ == rule and fitted.space_ == RULES[rule].space and fitted.n_members_ == 3
    np.testing.assert_array_equal(fitted.weights_, RULES[rule].fit(oof, labels, scorer_of(10)))
    np.testing.assert_array_equal(
        fitted.oof_proba_, comparison.cross_fit(RULES[rule], oof, labels, folds, scorer_of(10))
    )
    expected = vote.soft_vote(oof[:, :50], fitted.weights_, fitted.space_)
    np.testing.assert_array_equal(fitted.predict_proba(oof[:, :50]), expected)
    np.testing.assert_array_equal(fitted.predict(oof[:, :50]), expected.argmax(axis=1))


def test_auto_takes_the_rule_that_the_table_shows() -> None:
    members, labels, folds = digits()
    fitted = sv.SoftVoting().fit(members, labels, folds, names=["a", "b", "c"])
    assert fitted.rule_ == comparison.choose_rule("auto", fitted.table_.rows)
    assert [row.name for row in fitted.table_.rows] == ["a", "b", "c", *RULES]
    assert fitted.score(members, labels) == pytest.approx((fitted.predict(members) == labels).mean())


def test_weights_that_are_given_vote() -> None:
    members, labels, folds = digits()
    fitted = sv.SoftVoting(weights=[3, 1, 0]).fit(members, labels, folds)
    np.testing.assert_allclose(fitted.weights_, [0.75, 0.25, 0])
    expected = 0.75 * members[0] + 0.25 * members[1]
    np.testing.assert_allclose(fitted.predict_proba(members), expected, atol=1e-6)


def test_labels_may_be_text() -> None:
    members, labels, folds = digits()
    names = np.array(list("jihgfedcba"))  # sorted, as scikit-learn sorts columns: a..j
    text = names[labels]
    order = [names.tolist().index(name) for name in sorted(names)]
    sorted_members = [member[:, order] for member in members]
    by_number = sv.SoftVoting("greedy").fit(members, labels, folds)
    for fitted in (
        sv.SoftVoting("greedy").fit(sorted_members, text, folds),
        sv.SoftVoting("greedy").fit(members, text, folds, classes=names),
    ):
        assert fitted.score(sorted_members if fitted.classes_[0] == "a" else members, text) == pytest.approx(
            by_number.score(members, labels)
        )


def test_without_folds_only_what_fits_nothing_has_a_score() -> None:
    members, labels, _ = digits()
    table = sv.compare(members, labels)
    assert {row.name for row in table.rows if row.score is None} == {"log_loss", "greedy"}
    assert sv.SoftVoting().fit(members, labels).rule_ in ("mean", "mean_logits")
    with pytest.raises(sv.UserError, match="'greedy' fits weights; pass folds="):
        sv.SoftVoting("greedy").fit(members, labels)


# ---------------------------------------------------------------- the table


def test_the_table_for_people_notebooks_and_pandas() -> None:
    members, labels, folds = digits()
    table = sv.compare(members, labels, folds, names=["a<b", "bayes", "knn"])
    frame = table.to_pandas()
    assert frame.index.tolist() == ["a<b", "bayes", "knn", *RULES]
    row = table.rows[0]
    assert row.score is not None and row.log_loss is not None and row.to_mean is not None
    assert frame.loc["a<b", "accuracy"] == row.score.value == (members[0].argmax(1) == labels).mean()
    assert frame.loc["a<b", "accuracy_se"] == row.score.standard_error > 0
    assert frame.loc["a<b", "log_loss"] == row.log_loss.value
    assert frame.loc["a<b", "to_mean"] == row.to_mean.value
    assert np.isnan(frame.loc["mean", "to_mean"]) and frame.loc["mean", "kind"] == "rule"
    assert str(row.score) in repr(table) and "= log_loss" in repr(table)
    html = table._repr_html_()
    assert "<td>a&lt;b</td>" in html and str(row.score) in html
    assert html.count("<tr>") == 1 + 3 + len(RULES)


# ---------------------------------------------------------------- mistakes

GOOD = np.full((2, 4, 3), 1 / 3)
LABELS, FOLDS = np.array([0, 1, 2, 0]), np.array([0, 0, 1, 1])


def with_cell(value: float) -> np.ndarray:
    members = GOOD.copy()
    members[1, 2, 0] = value
    return members


@pytest.mark.parametrize(
    ("members", "labels", "folds", "says"),
    [
        (GOOD[0], LABELS, FOLDS, "members: a single one; give a list"),
        ([], LABELS, FOLDS, "no members to vote"),
        (3.0, LABELS, FOLDS, "members: not arrays of numbers"),
        ([GOOD[0], "nonsense"], LABELS, FOLDS, "members: not arrays of numbers"),
        ([GOOD[0], GOOD[1, :3]], LABELS, FOLDS, r"member number 1: .*\(3, 3\), the first member's \(4, 3\)"),
        (GOOD[:, :0], LABELS[:0], FOLDS[:0], "members: no rows"),
        (with_cell(np.nan), LABELS, FOLDS, "member number 1: row 2 .*nan"),
        (with_cell(0.5), LABELS, FOLDS, "member number 1: row 2 .*sum 1.16"),
        (with_cell(-0.1), LABELS, FOLDS, "member number 1: row 2 .*smallest -0.1"),
        (GOOD, LABELS[:3], FOLDS, r"labels: shape \(3,\); the members have 4 rows"),
        (GOOD, np.array([0, 1, 3, 0]), FOLDS, r"labels: row 2 \(from 0\) is 3, not 0..2"),
        (GOOD, np.array([0, -1, 2, 0]), FOLDS, r"labels: row 1 \(from 0\) is -1, not 0..2"),
        (GOOD, np.array([0, 1, np.nan, 0]), FOLDS, "labels: float64; give integers"),
        (GOOD, np.array(["a", "b", "a", "b"]), FOLDS, "classes: 2 for 3 columns"),
        (GOOD, np.array(["a", None, "c", "b"]), FOLDS, r"labels: row 1 \(from 0\) is None, and 1 in all"),
        (GOOD, LABELS, FOLDS[:2], r"folds: int64 \(2,\); the members have 4 rows"),
        (GOOD, LABELS, FOLDS / 2, r"folds: float64 \(4,\)"),
    ],
)  # fmt: skip
def test_what_cannot_vote_is_refused_in_one_line(members: Any, labels: Any, folds: Any, says: str) -> None:
    for call in (sv.SoftVoting().fit, sv.compare):
        with pytest.raises(sv.UserError, match=says) as caught:
            call(members, labels, folds)
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"rule": "log_los"}, "rule: no rule 'log_los'; did you mean 'log_loss'"),
        ({"weights": [1, 2, 3]}, "weights: 3 for 2 members"),
        ({"weights": [1, -2]}, "weights: .*not negative"),
        ({"weights": [0, 0]}, "weights: .*not all 0"),
        ({"weights": [np.nan, 1]}, "weights: "),
        ({"weights": ["a", 1]}, "weights: .*give numbers"),
        ({"metric": 3}, "metric: no metric '3'"),
    ],
)
def test_parameters_are_checked_when_fitted(parameters: dict[str, Any], says: str) -> None:
    with pytest.raises(sv.UserError, match=says):
        sv.SoftVoting(**parameters).fit(GOOD, LABELS, FOLDS)


def test_other_members_than_those_of_fit_are_refused() -> None:
    fitted = sv.SoftVoting("mean").fit(GOOD, LABELS, FOLDS)
    with pytest.raises(sv.UserError, match="members: 1 with 3 classes, fitted were 2 with 3"):
        fitted.predict_proba(GOOD[:1])
    with pytest.raises(sv.UserError, match="members: 2 with 2 classes, fitted were 2 with 3"):
        fitted.predict(np.full((2, 4, 2), 0.5))
    with pytest.raises(sv.UserError, match="names: 1 for 2 members"):
        sv.compare(GOOD, LABELS, FOLDS, names=["one"])
    with pytest.raises(NotFittedError):
        sv.SoftVoting().predict(GOOD)


# ---------------------------------------------------------------- scikit-learn's manners


def test_parameters_clone_pickle_and_repr() -> None:
    estimator = sv.SoftVoting(rule="greedy")
    assert estimator.get_params() == {"rule": "greedy", "weights": None, "metric": "accuracy"}
    assert repr(estimator) == "SoftVoting(rule='greedy')"
    assert clone(estimator.set_params(rule="mean")).rule == "mean"
    fitted = pickle.loads(pickle.dumps(estimator.fit(GOOD, LABELS, FOLDS)))
    np.testing.assert_array_equal(fitted.predict_proba(GOOD), estimator.predict_proba(GOOD))
    assert not hasattr(clone(fitted), "weights_")


class TwoDimensional(sv.SoftVoting):
    """A claim that is not true, so that scikit-learn tries its checks at all."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.three_d_array = True, False
        return tags


APPLY = {
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_estimator_tags_renamed",
    "check_estimators_unfitted",
    "check_get_params_invariance",
    "check_mixin_order",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_set_params",
    "check_valid_tag_types",
}
"""Checks that need no X. All others fit on (N, features), where this one takes (M, N, K)."""

CHECKS = {
    (check.func if hasattr(check, "func") else check).__name__: (estimator, check)
    for estimator, check in estimator_checks_generator(TwoDimensional(), legacy=True)
}


def test_scikit_learn_has_the_checks_that_apply() -> None:
    assert set(CHECKS) >= APPLY


@pytest.mark.parametrize("name", sorted(APPLY & set(CHECKS)))
def test_checks_of_scikit_learn_that_apply(name: str) -> None:
    estimator, check = CHECKS[name]
    check(estimator)


def test_with_true_tags_scikit_learn_leaves_out_what_needs_two_dimensional_members() -> None:
    tags = sv.SoftVoting().__sklearn_tags__()
    assert tags.estimator_type == "classifier"
    assert tags.input_tags.three_d_array and not tags.input_tags.two_d_array
