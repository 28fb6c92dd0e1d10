"""What each rule is worth, scored on rows its weights were not fitted on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from softvote.ensembling.rules import RULES, Rule, mean
from softvote.ensembling.vote import (
    ClassIndices,
    Members,
    Probabilities,
    Weights,
    check_members,
    weighted_mean,
)
from softvote.errors import UserError, one_of
from softvote.metrics import scores
from softvote.metrics.scores import Difference, Score


def fixed_rule(name: str, weights: Sequence[float]) -> Rule:
    """A rule whose weights somebody gave, in probability space."""
    return Rule(name, "probability", False, lambda oof, labels: np.array(weights, np.float64))


def _worth(probabilities: Probabilities, labels: ClassIndices) -> tuple[int, float]:
    """Rows right, then less log loss: greater is better."""
    right = int(np.count_nonzero(scores.correct(probabilities, labels)))
    return right, -float(scores.losses(probabilities, labels).mean())


def cross_fitted(
    rule: Rule, oof: Members, labels: ClassIndices, folds: NDArray[np.integer]
) -> Probabilities | None:
    """The vote on out-of-fold rows, each fold with weights fitted on the other folds' rows.

    Fitted and scored on the same rows, weights would look better than they are.

    Args:
        oof: M arrays float32 (N, K).
        labels: integers (N,) in 0..K-1.
        folds: integers (N,), the fold each row was left out with.

    Returns:
        float32 (N, K); None where a fitted rule has only one fold, so that no other rows are left.
    """
    if not rule.fitted:
        return weighted_mean(oof, rule.fit(oof, labels), rule.space)
    present = np.unique(folds)
    if len(present) < 2:
        return None
    voted = np.empty(oof[0].shape, np.float32)
    for fold in present:
        own = folds == fold
        weights = rule.fit([member[~own] for member in oof], labels[~own])
        voted[own] = weighted_mean([member[own] for member in oof], weights, rule.space)
    return voted


@dataclass(frozen=True)
class ComparisonRow:
    """A member alone, or a rule: its scores, and its accuracy less the mean's and the best member's.

    Scores are None where a fitted rule has one fold only; a difference to itself is None too.
    """

    name: str
    kind: Literal["member", "rule"]
    accuracy: Score | None = None
    log_loss: Score | None = None
    to_mean: Difference | None = None
    to_best: Difference | None = None

    @property
    def words(self) -> str:
        """How it does against the mean."""
        if self.accuracy is None:
            return "needs two folds"
        return self.to_mean.verdict if self.to_mean else ""


@dataclass(frozen=True, eq=False)
class Comparison:
    """What `compare_members` found: the scores, and what each rule makes of the members.

    Attributes:
        rows: a score row per member, then one per rule.
        rules: by their names.
        votes: float32 (N, K) of each rule, the out-of-fold votes that were scored; None where a fitted rule
            has one fold only.
        members: as they were compared.
        labels: integers (N,).
    """

    rows: list[ComparisonRow]
    rules: dict[str, Rule]
    votes: dict[str, Probabilities | None]
    members: Members
    labels: ClassIndices

    def fit_weights(self, rule: str) -> Weights:
        """Fit a rule's weights float64 (M,) on all rows: those that vote on rows nobody has seen.

        Most rules of a comparison never vote, so that their weights are not fitted before somebody asks.
        """
        return self.rules[rule].fit(self.members, self.labels)


def compare_members(
    members: Members,
    names: Sequence[str],
    labels: ClassIndices,
    folds: NDArray[np.integer],
    rules: Sequence[Rule] | None = None,
) -> Comparison:
    """Score each member alone and each rule, fitted ones by `cross_fitted`.

    The best member is found by the very scores shown here: that is itself a selection, so its score
    flatters it a little, and a vote that only equals it is worth more. Differences are paired.

    Args:
        members: M arrays float32 (N, K) of out-of-fold probabilities.
        names: the members' M names.
        labels: integers (N,) in 0..K-1.
        folds: integers (N,), the fold each row was left out with.
        rules: left out, all of `RULES`.

    Returns:
        the scores, M rows of members, then one per rule; and each rule's votes and weights.

    Raises:
        UserError: a member holds no probabilities.
        ValueError: lengths that do not fit, labels outside 0..K-1, or no rows.
    """
    if len(members) != len(names) or len(labels) != len(folds):
        raise ValueError("one name a member, one label and one fold a row")
    check_members(members, names)
    best = max(range(len(members)), key=lambda index: _worth(members[index], labels))
    plain = scores.correct(weighted_mean(members, mean(members, labels), "probability"), labels)
    single = scores.correct(members[best], labels)

    def row(voted: Probabilities | None, name: str, kind: Literal["member", "rule"]) -> ComparisonRow:
        if voted is None:
            return ComparisonRow(name, kind)
        right = scores.correct(voted, labels)
        itself = {("rule", "mean"): "mean", ("member", names[best]): "best"}.get((kind, name))
        to_mean = None if itself == "mean" else scores.paired_difference(right, plain)
        to_best = None if itself == "best" else scores.paired_difference(right, single)
        return ComparisonRow(
            name, kind, scores.proportion(right), scores.log_loss(voted, labels), to_mean, to_best
        )

    alone = [row(member, name, "member") for member, name in zip(members, names, strict=True)]
    by_name = dict(RULES) if rules is None else {rule.name: rule for rule in rules}
    votes = {name: cross_fitted(rule, members, labels, folds) for name, rule in by_name.items()}
    voting = [row(voted, name, "rule") for name, voted in votes.items()]
    return Comparison(alone + voting, by_name, votes, members, labels)


def choose_rule(requested: str, table: Sequence[ComparisonRow]) -> str:
    """The rule that votes.

    `auto` is `mean`, unless other rules beat it by more than two standard errors of the paired
    difference; then it is the most accurate of these.

    Args:
        requested: `auto` or the name of a rule.
        table: the rows of a comparison.

    Raises:
        UserError: an unknown rule, or a fitted one that has no score because one fold is trained.
    """
    rules = {row.name: row for row in table if row.kind == "rule"}
    if requested == "auto":
        gains = {row.name: row.to_mean for row in rules.values() if row.to_mean}
        better = [name for name, gain in gains.items() if gain.verdict == "better"]
        return max(better, key=lambda name: gains[name].value, default="mean")
    if requested not in rules:
        raise UserError.at("ensemble.rule", f"no rule '{requested}'", one_of(["auto", *rules], requested))
    if rules[requested].accuracy is None:
        raise UserError.at(
            "ensemble.rule",
            f"'{requested}' fits weights and needs two trained folds to be scored",
            "train another fold or set rule: mean",
        )
    return requested
