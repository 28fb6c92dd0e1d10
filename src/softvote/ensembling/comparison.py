"""What each rule is worth, scored on rows its weights were not fitted on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from softvote.ensembling.rules import RULES, Rule
from softvote.ensembling.scorer import Scorer
from softvote.ensembling.vote import Members, Probabilities, Weights, check_members, weighted_mean
from softvote.errors import UserError, one_of
from softvote.metrics import Labels
from softvote.metrics.evaluation import Evaluation
from softvote.metrics.scores import Difference, Score


def fixed_rule(name: str, weights: Sequence[float]) -> Rule:
    """A rule whose weights somebody gave, in probability space."""
    return Rule(name, "probability", False, lambda oof, labels, scorer: np.array(weights, np.float64))


def cross_fit(
    rule: Rule, oof: Members, labels: Labels, folds: NDArray[np.integer], scorer: Scorer
) -> Probabilities | None:
    """The vote on out-of-fold rows, each fold with weights fitted on the other folds' rows.

    Fitted and scored on the same rows, weights would look better than they are.

    Args:
        oof: M arrays float32 (N, K).
        labels: as the scorer's task has them.
        folds: integers (N,), the fold each row was left out with.

    Returns:
        float32 (N, K); None where a fitted rule has only one fold, so that no other rows are left.
    """
    blocks = scorer.space.task.blocks
    if not rule.fitted:
        return weighted_mean(oof, rule.fit(oof, labels, scorer), rule.space, blocks)
    present = np.unique(folds)
    if len(present) < 2:
        return None
    voted = np.empty(oof[0].shape, np.float32)
    for fold in present:
        own = folds == fold
        others = scorer.for_rows(np.flatnonzero(~own))
        weights = rule.fit([member[~own] for member in oof], labels[~own], others)
        voted[own] = weighted_mean([member[own] for member in oof], weights, rule.space, blocks)
    return voted


@dataclass(frozen=True)
class ComparisonRow:
    """A member alone, or a rule: its scores, and its value less the mean's and the best member's.

    Scores are None where a fitted rule has one fold only; a difference to itself is None too.
    """

    name: str
    kind: Literal["member", "rule"]
    score: Score | None = None
    log_loss: Score | None = None
    to_mean: Difference | None = None
    to_best: Difference | None = None

    @property
    def words(self) -> str:
        """How it does against the mean."""
        if self.score is None:
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
        labels: as the scorer's task has them.
        scorer: what was scored.
    """

    rows: list[ComparisonRow]
    rules: dict[str, Rule]
    votes: dict[str, Probabilities | None]
    members: Members
    labels: Labels
    scorer: Scorer

    def fit_weights(self, rule: str) -> Weights:
        """Fit a rule's weights float64 (M,) on all rows: those that vote on rows nobody has seen.

        Most rules of a comparison never vote, so that their weights are not fitted before somebody asks.
        """
        return self.rules[rule].fit(self.members, self.labels, self.scorer)


def compare_members(
    members: Members,
    names: Sequence[str],
    labels: Labels,
    folds: NDArray[np.integer],
    scorer: Scorer,
    rules: Sequence[Rule] | None = None,
) -> Comparison:
    """Score each member alone and each rule, fitted ones by `cross_fit`.

    The best member is found by the very scores shown here: that is itself a selection, so its score
    flatters it a little, and a vote that only equals it is worth more. Differences are paired.

    Args:
        members: M arrays float32 (N, K) of out-of-fold probabilities.
        names: the members' M names.
        labels: as the scorer's task has them.
        folds: integers (N,), the fold each row was left out with.
        scorer: what is scored.
        rules: left out, all of `RULES`.

    Returns:
        the scores, M rows of members, then one per rule; and each rule's votes and weights.

    Raises:
        UserError: a member holds no probabilities.
        ValueError: lengths that do not fit, labels that do not exist, or no rows.
    """
    if len(members) != len(names) or len(labels) != len(folds):
        raise ValueError("one name per member, one label and one fold per row")
    blocks = scorer.space.task.blocks
    check_members(members, names, blocks)
    evaluated = [_VoteScores.of(member, labels, scorer) for member in members]
    best = max(range(len(members)), key=lambda index: evaluated[index].worth)
    equal = np.full(len(members), 1 / len(members))
    plain = _VoteScores.of(weighted_mean(members, equal, "probability", blocks), labels, scorer)

    def row(voted: _VoteScores | None, name: str, kind: Literal["member", "rule"]) -> ComparisonRow:
        if voted is None:
            return ComparisonRow(name, kind)
        itself = {("rule", "mean"): "mean", ("member", names[best]): "best"}.get((kind, name))
        to_mean = None if itself == "mean" else voted.by_metric.minus(plain.by_metric)
        to_best = None if itself == "best" else voted.by_metric.minus(evaluated[best].by_metric)
        return ComparisonRow(name, kind, voted.by_metric.score, voted.by_log_loss.score, to_mean, to_best)

    alone = [row(member, name, "member") for member, name in zip(evaluated, names, strict=True)]
    by_name = dict(RULES) if rules is None else {rule.name: rule for rule in rules}
    votes = {name: cross_fit(rule, members, labels, folds, scorer) for name, rule in by_name.items()}
    voting = [
        row(None if voted is None else _VoteScores.of(voted, labels, scorer), name, "rule")
        for name, voted in votes.items()
    ]
    return Comparison(alone + voting, by_name, votes, members, labels, scorer)


@dataclass(frozen=True)
class _VoteScores:
    """What a member or a rule scores."""

    by_metric: Evaluation
    by_log_loss: Evaluation

    @classmethod
    def of(cls, probabilities: Probabilities, labels: Labels, scorer: Scorer) -> _VoteScores:
        return cls(scorer.evaluate(probabilities, labels), scorer.log_loss(probabilities, labels))

    @property
    def worth(self) -> tuple[float, float]:
        """By the metric, then by less log loss: greater is better."""
        return self.by_metric.worth, self.by_log_loss.worth


def choose_rule(requested: str, table: Sequence[ComparisonRow]) -> str:
    """The rule that votes.

    `auto` is `mean`, unless other rules beat it by more than two standard errors of the paired
    difference; then it is the best of these.

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
        return max(better, key=lambda name: gains[name].gain, default="mean")
    if requested not in rules:
        raise UserError.at("ensemble.rule", f"no rule '{requested}'", one_of(["auto", *rules], requested))
    if rules[requested].score is None:
        raise UserError.at(
            "ensemble.rule",
            f"'{requested}' fits weights and needs two trained folds to be scored",
            "train another fold or set rule: mean",
        )
    return requested
