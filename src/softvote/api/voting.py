"""Soft voting over probabilities of any library, with scikit-learn's manners."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import ValidationError
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from softvote.api.arrays import are_tags, as_members, fold_numbers, known_labels
from softvote.config.schema import ConfigError
from softvote.ensembling.comparison import choose_rule, compare_members, fixed_rule
from softvote.ensembling.rules import RULES, Rule
from softvote.ensembling.scorer import Scorer
from softvote.ensembling.vote import soft_vote
from softvote.errors import UserError, one_of
from softvote.metrics import METRICS
from softvote.reporting.comparison import ComparisonTable
from softvote.task import LabelSpace, Task, TaskKind
from softvote.words import counted

MetricLike = str | Mapping[str, Any]
"""The name of a metric, or its keys as a pipeline file has them: `{"name": "f_beta", "beta": 2}`."""


class SoftVoting(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Vote over the probabilities of models that are trained already.

    Unlike scikit-learn's VotingClassifier it fits no models, but the weights of the vote, from out-of-fold
    probabilities; weights that are fitted are scored on folds they were not fitted on. Its X is therefore
    (M, N, K): M members, N rows, K classes. Labels may also be tags, (N, K) of 0 and 1; then each probability
    stands for itself.

    Of scikit-learn's manners it has parameters that are only stored, get_params, set_params, clone, repr,
    pickle, attributes that end in an underscore, NotFittedError and score. Of check_estimator's checks those
    that look at parameters, tags, repr and the state before `fit` apply and pass; those that fit cannot,
    because they fit on two-dimensional X.

    Args:
        rule: `auto` (the mean, unless another rule is better by more than two standard errors of the paired
            difference), `mean`, `mean_logits`, `log_loss` or `greedy`.
        weights: M numbers, not negative, in place of a rule; they are divided by their sum.
        metric: what `auto`, `greedy`, the table and the decision are steered by; see `compare`.

    Attributes:
        weights_: float64 (M,), not negative, summing to 1.
        rule_: the rule that votes; `weights` where weights were given.
        space_: `probability` or `logit`, in which members are averaged.
        table_: a ComparisonTable of members and rules.
        oof_proba_: float32 (N, K), the vote on the rows of `fit`, by weights fitted on other folds.
        decision_: how `predict` decides: thresholds of tags or cut points are fitted where the metric gains
            by more than two standard errors on folds they were not fitted on.
        oof_score_: what is decided scores by the metric, on such folds.
        classes_: (K,), the label of each column.
        n_members_: M.

    Examples:
        >>> import numpy as np
        >>> import softvote as sv
        >>> labels, folds = np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1])
        >>> sure = np.array([[0.9, 0.1], [0.2, 0.8], [0.8, 0.2], [0.1, 0.9]])
        >>> unsure = np.array([[0.6, 0.4], [0.5, 0.5], [0.4, 0.6], [0.3, 0.7]])
        >>> vote = sv.SoftVoting(rule="auto").fit([sure, unsure], labels, folds)
        >>> vote.rule_, vote.weights_
        ('mean', array([0.5, 0.5]))
        >>> vote.predict_proba([sure[:1], unsure[:1]])
        array([[0.75, 0.25]], dtype=float32)
        >>> vote.predict([sure, unsure])
        array([0, 1, 0, 1])
    """

    def __init__(
        self, rule: str = "auto", weights: Sequence[float] | None = None, metric: MetricLike = "accuracy"
    ) -> None:
        self.rule = rule
        self.weights = weights
        self.metric = metric

    def fit(
        self,
        members: ArrayLike | Sequence[ArrayLike],
        labels: ArrayLike,
        folds: ArrayLike | None = None,
        *,
        classes: ArrayLike | None = None,
        names: Sequence[str] | None = None,
    ) -> Self:
        """Choose the rule and fit its weights.

        Args:
            members: (M, N, K), or M arrays (N, K), of probabilities of rows that each member was not trained
                on; rows sum to 1 within 1e-3, unless labels are tags.
            labels: (N,), integers 0..K-1, or what `classes` names; of tags (N, K) of 0 and 1.
            folds: integers (N,), the fold that each row was left out with; needed by rules that fit weights.
            classes: (K,), the label or tag of each column; if omitted, labels that are text are sorted, as
                scikit-learn sorts them, and integers are column numbers.
            names: of the members, for the table.

        Raises:
            UserError: anything else, in a line that names the member and the row.
        """
        chosen = self._rule()
        arrays, names = as_members(members, names, are_tags(labels))
        self.classes_, truth = known_labels(labels, classes, arrays[0].shape)
        scorer = _scorer(self.metric, self.classes_, truth)
        fold_of_row = fold_numbers(folds, len(truth))
        if chosen and chosen.fitted and len(np.unique(fold_of_row)) < 2:
            raise UserError.at(
                "rule", f"'{chosen.name}' fits weights", "pass folds= of two or more, or rule='mean'"
            )
        rules = dict(RULES)
        if chosen and chosen.name not in rules:
            if len(self.weights or ()) != len(arrays):
                raise UserError.at(
                    "weights",
                    f"{len(self.weights or ())} for {counted(len(arrays), 'member')}",
                    "give one each",
                )
            rules[chosen.name] = chosen
        compared = compare_members(arrays, names, truth, fold_of_row, scorer, list(rules.values()))
        self.rule_ = choose_rule(chosen.name if chosen else "auto", compared.rows)
        self.space_ = rules[self.rule_].space
        self.weights_ = compared.fit_weights(self.rule_)
        voted = compared.votes[self.rule_]
        assert voted is not None, "choose_rule refuses a fitted rule with one fold"
        decided = scorer.decide(voted, truth, fold_of_row)
        self.oof_proba_, self.decision_, self.oof_score_ = voted, decided.decision, decided.evaluation.score
        self.label_space_ = scorer.space
        self.table_ = ComparisonTable(compared)
        self.n_members_ = len(arrays)
        return self

    def _rule(self) -> Rule | None:
        """The rule that is asked for; None for `auto`."""
        if self.weights is not None:
            weights = np.asarray(self.weights)
            if (
                weights.dtype.kind not in "fiu"
                or weights.ndim != 1
                or not (weights >= 0).all()
                or not 0 < weights.sum() < np.inf
            ):
                raise UserError.at(
                    "weights", str(self.weights), "give numbers that are not negative, and not all 0"
                )
            return fixed_rule("weights", (weights / weights.sum()).tolist())
        if self.rule != "auto" and self.rule not in RULES:
            raise UserError.at("rule", f"no rule '{self.rule}'", one_of(["auto", *RULES], str(self.rule)))
        return RULES.get(self.rule)

    def predict_proba(self, members: ArrayLike | Sequence[ArrayLike]) -> NDArray[np.float32]:
        """Vote.

        Args:
            members: (M, n, K), or M arrays (n, K), of the members of `fit` in the same order.

        Returns:
            float32 (n, K), rows that sum to 1, unless they are of tags.

        Raises:
            UserError: other members than those of `fit`, or what are not probabilities.
            sklearn.exceptions.NotFittedError: before `fit`.
        """
        check_is_fitted(self)
        blocks = self.label_space_.task.blocks
        arrays, names = as_members(members, None, of_tags=not blocks)
        fitted, found = (self.n_members_, len(self.classes_)), (len(arrays), arrays[0].shape[1])
        if found != fitted:
            raise UserError.at(
                "members",
                f"{found[0]} with {counted(found[1], 'class', 'classes')}, "
                f"fitted were {fitted[0]} with {fitted[1]}",
                "give the same in the same order",
            )
        return soft_vote(arrays, self.weights_, self.space_, names, blocks)

    def predict(self, members: ArrayLike | Sequence[ArrayLike]) -> NDArray[Any]:
        """Decide on each row: a label each, (n,) of `classes_`; of tags (n, K) of 0 and 1.

        Where the metric is of probabilities, it is the most probable class, or the tags of at least one half.
        Arguments are those of `predict_proba`.
        """
        voted = self.predict_proba(members)  # which says so before `fit`
        if self.decision_.decision.makes == "labels":
            decided = self.decision_.decide(voted, self.label_space_)
        else:
            decided = self.label_space_.task.name(voted)
        chosen: NDArray[Any] = decided if decided.ndim == 2 else self.classes_[decided]
        return chosen

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.three_d_array = False, True
        return tags


def compare(
    members: ArrayLike | Sequence[ArrayLike],
    labels: ArrayLike,
    folds: ArrayLike | None = None,
    names: Sequence[str] | None = None,
    classes: ArrayLike | None = None,
    metric: MetricLike = "accuracy",
) -> ComparisonTable:
    """Score each member alone and each rule of the vote, on rows that weights were not fitted on.

    Arguments and errors are those of `SoftVoting.fit`. Without folds, rules that fit weights have no score.

    Args:
        metric: a name (`accuracy`, `log_loss`, `roc_auc`, `f1`, `quadratic_weighted_kappa`, `map_at_k`, ...),
            or a mapping of name and keys, as a pipeline file has them: `{"name": "map_at_k", "k": 3}`. The
            order of `classes` is that of ordered ones.

    Examples:
        >>> import numpy as np
        >>> import softvote as sv
        >>> labels, folds = np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1])
        >>> sure = np.array([[0.9, 0.1], [0.2, 0.8], [0.8, 0.2], [0.1, 0.9]])
        >>> unsure = np.array([[0.6, 0.4], [0.5, 0.5], [0.4, 0.6], [0.3, 0.7]])
        >>> table = sv.compare([sure, unsure], labels, folds, names=["sure", "unsure"])
        >>> table.to_pandas().loc["unsure", "accuracy"]
        np.float64(0.5)
    """
    arrays, names = as_members(members, names, are_tags(labels))
    known, truth = known_labels(labels, classes, arrays[0].shape)
    scorer, fold_of_row = _scorer(metric, known, truth), fold_numbers(folds, len(truth))
    return ComparisonTable(compare_members(arrays, names, truth, fold_of_row, scorer))


def _scorer(metric: MetricLike, classes: NDArray[Any], truth: NDArray[np.int64]) -> Scorer:
    """What scores by a metric that somebody named.

    Raises:
        UserError: no such metric, or one that is not for these labels.
    """
    written = dict(metric) if isinstance(metric, Mapping) else {"name": metric}
    name = str(written.get("name"))
    if name not in METRICS:
        raise UserError.at("metric", f"no metric '{name}'", one_of(list(METRICS), name))
    kind: TaskKind = "tags" if truth.ndim == 2 else "classes"
    if kind == "classes" and name == "quadratic_weighted_kappa":
        kind = "ordered"  # whose order it is that counts
    space = LabelSpace(Task(len(classes), kind=kind), tuple(map(str, classes.tolist())))
    try:
        found = METRICS[name].model_validate(written)
        found.check(space)
    except ConfigError as error:
        raise UserError(*(problem.within("metric") for problem in error.problems)) from None
    except ValidationError as error:
        first = error.errors()[0]
        what = f"{'.'.join(map(str, first['loc']))}: {first['msg'].lower()}"
        raise UserError.at("metric", what, f"known: {', '.join(METRICS[name].model_fields)}") from None
    if kind not in found.kinds:
        fitting = ", ".join(other for other, each in METRICS.items() if kind in each.kinds)
        raise UserError.at("metric", f"{name} is not for {kind}", f"use {fitting}")
    return Scorer.create(found, space)
