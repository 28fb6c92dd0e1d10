"""The vote: rules that give every member a weight, the one function that applies the weights, and
the table that says what each rule is worth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from softvote import scores, tables
from softvote.errors import UserError, one_of
from softvote.scores import Difference, Score

Probabilities = NDArray[np.float32]
Members = Sequence[Probabilities] | NDArray[np.float32]
"""(M, N, K), or M arrays (N, K) of which some may be memory-mapped."""
Labels = NDArray[np.integer]
Weights = NDArray[np.float64]
Space = Literal["probability", "logit"]
Fit = Callable[[Members, Labels], Weights]

RULES_VERSION = 1
"""Raised whenever a rule gives other weights for the same probabilities."""

_BLOCK = 4096
_SUM_TOLERANCE = 1e-3


# ---------------------------------------------------------------- applying weights


def soft_vote(
    members: Members, weights: Weights, space: Space = "probability", names: Sequence[str] | None = None
) -> Probabilities:
    """The weighted mean of the members' probabilities, or of their logarithms.

    Every row is voted on by itself, so out-of-fold and test rows meet the same function. In logit
    space the mean of log probabilities is renormalised; that equals the softmax of the mean logits,
    because a log probability is its logit less one constant a row. A probability of 0 counts there as
    the smallest normal float32, about where a float32 softmax reaches 0.

    Args:
        members: M arrays float32 (N, K), rows summing to 1 within 1e-3.
        weights: (M,), not negative, summing to 1.
        names: what the members are called in messages.

    Returns:
        float32 (N, K), rows summing to 1. Beyond the inputs and this, a few thousand rows are held.

    Raises:
        UserError: a member holds no probabilities.
        ValueError: weights off the simplex, or not one a member.
    """
    check_members(members, names)
    return _voted(members, weights, space)


def _voted(members: Members, weights: Weights, space: Space) -> Probabilities:
    """`soft_vote` of members that are known to hold probabilities."""
    _check_weights(weights, len(members))
    vote = _mean_logits if space == "logit" else _mean_probabilities
    voted = np.empty(members[0].shape, np.float32)
    for start in range(0, len(voted), _BLOCK):
        rows = slice(start, start + _BLOCK)
        voted[rows] = vote([member[rows] for member in members], weights)
    return voted


def _mean_probabilities(members: Sequence[Probabilities], weights: Weights) -> NDArray[np.float64]:
    mean = np.zeros(members[0].shape)
    for member, weight in zip(members, weights, strict=True):
        mean += weight * member
    return _rows_sum_to_one(mean)


def _mean_logits(members: Sequence[Probabilities], weights: Weights) -> NDArray[np.float64]:
    mean = np.zeros(members[0].shape)
    for member, weight in zip(members, weights, strict=True):
        mean += weight * np.log(np.maximum(member, np.finfo(np.float32).tiny), dtype=np.float64)
    return _rows_sum_to_one(np.exp(mean))


def _rows_sum_to_one(mass: NDArray[np.float64]) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = mass / mass.sum(axis=1, keepdims=True)
    return shares


def check_members(members: Members, names: Sequence[str] | None = None) -> None:
    """Refuse what cannot vote.

    Raises:
        UserError: no members, shapes that differ, fewer than two classes, or a row that is not finite,
            not non-negative or does not sum to 1 within 1e-3; the text names the member and the row.
    """
    if len(members) == 0:
        raise UserError("ensemble: no members to vote; name at least one")
    for index, member in enumerate(members):
        name = names[index] if names is not None else f"number {index}"
        problem = _problem(member, members[0].shape)
        if problem:
            raise UserError(f"member {name}: {problem}; predict with it again")


def _problem(member: Probabilities, shape: tuple[int, ...]) -> str:
    if member.ndim != 2 or member.shape[1] < 2:
        return f"probabilities have shape {member.shape}, not (rows, two or more classes)"
    if member.shape != shape:
        return f"probabilities have shape {member.shape}, the first member's {shape}"
    for start in range(0, len(member), _BLOCK):
        # A minimum and a sum a row carry NaN and infinity along.
        block = member[start : start + _BLOCK]
        lowest, sums = block.min(axis=1), block.sum(axis=1, dtype=np.float64)
        bad = ~((lowest >= 0) & (np.abs(sums - 1) <= _SUM_TOLERANCE))
        if bad.any():
            row = int(bad.argmax())
            found = f"smallest {lowest[row]:.4g}, sum {sums[row]:.6g}"
            return f"row {start + row} (from 0) holds no probabilities: {found}"
    return ""


def _check_weights(weights: Weights, members: int) -> None:
    if weights.shape != (members,):
        raise ValueError(f"weights of shape {weights.shape} for {members} members")
    if not (weights >= 0).all() or not abs(weights.sum() - 1) <= 1e-6:
        raise ValueError(f"weights must be non-negative and sum to 1, not {weights.tolist()}")


# ---------------------------------------------------------------- rules


@dataclass(frozen=True)
class Rule:
    """How weights come about.

    `fit(oof (M, N, K), labels (N,))` returns weights float64 (M,), not negative and summing to 1;
    `fitted` says whether it looks at the labels.
    """

    name: str
    space: Space
    fitted: bool
    fit: Fit


RULES: dict[str, Rule] = {}


def rule(space: Space, fitted: bool) -> Callable[[Fit], Fit]:
    """Register a fit function as the rule of its name."""

    def register(fit: Fit) -> Fit:
        RULES[fit.__name__] = Rule(fit.__name__, space, fitted, fit)
        return fit

    return register


def fixed_rule(name: str, weights: Sequence[float]) -> Rule:
    """A rule whose weights somebody gave, in probability space."""
    return Rule(name, "probability", False, lambda oof, labels: np.array(weights, np.float64))


@rule(space="probability", fitted=False)
def mean(oof: Members, labels: Labels) -> Weights:
    """Every member alike, probabilities averaged."""
    return np.full(len(oof), 1 / len(oof))


@rule(space="logit", fitted=False)
def mean_logits(oof: Members, labels: Labels) -> Weights:
    """Every member alike, logits averaged: one sure member outweighs several unsure ones."""
    return np.full(len(oof), 1 / len(oof))


@rule(space="probability", fitted=True)
def log_loss(oof: Members, labels: Labels) -> Weights:
    """The weights whose mean has the least log loss, by sequential quadratic programming.

    With the members as components, these are maximum likelihood mixture weights (as portfolio selection,
    Cover 1984). The problem is convex. Expectation-maximisation solves it too, but where members are
    nearly alike it takes thousands of steps, and this takes dozens.
    """
    from scipy.optimize import minimize

    truth = np.maximum(np.stack(_of_truth(oof, labels), axis=1).astype(np.float64), scores.FLOOR)

    def loss(weights: Weights) -> tuple[float, Weights]:
        mixed = np.maximum(truth @ weights, scores.FLOOR)  # on its way the search may leave the simplex
        return -float(np.log(mixed).mean()), -(1 / mixed) @ truth / len(truth)

    equal = mean(oof, labels)
    on_simplex = {"type": "eq", "fun": lambda weights: weights.sum() - 1, "jac": np.ones_like}
    bounds, options = [(0, 1)] * len(oof), {"ftol": 1e-12, "maxiter": 1000}
    found = minimize(
        loss, equal, jac=True, method="SLSQP", bounds=bounds, constraints=on_simplex, options=options
    )
    weights: Weights = np.maximum(found.x, 0)
    weights /= weights.sum()
    return weights if loss(weights)[0] < loss(equal)[0] else equal


def _of_truth(oof: Members, labels: Labels) -> list[NDArray[np.float32]]:
    """Each member's probabilities of the true classes, (N,)."""
    return [member[np.arange(len(labels)), labels] for member in oof]


@rule(space="probability", fitted=True)
def greedy(oof: Members, labels: Labels) -> Weights:
    """Ensemble selection with replacement (Caruana et al. 2004): 25 rounds, the best bag of them.

    Each round adds the member that gets most rows right together with those already chosen; ties go to
    the lower log loss, then to the earlier member. Accuracy is the aim because it is the metric; for
    log loss the rule `log_loss` already finds the exact optimum. The first round takes the best single
    member, so the bag is never worse than that one on the rows it is fitted on.
    """
    of_class = [np.flatnonzero(labels == label) for label in range(oof[0].shape[1])]
    members = [_by_class(member, of_class) for member in oof]
    of_truth = _of_truth(oof, labels)
    total, truth = [np.zeros_like(part) for part in members[0]], np.zeros(len(labels), np.float32)
    counts, best_counts = np.zeros(len(oof)), np.zeros(len(oof))
    best = (-1, -np.inf)
    for size in range(1, 26):
        share = np.float32(size)
        right = [_right(total, member, share) for member in members]
        worths = {
            index: (most, -_loss((truth + of_truth[index]) / share))
            for index, most in enumerate(right)
            if most == max(right)
        }
        chosen = max(worths, key=worths.__getitem__)
        total = [bag + part for bag, part in zip(total, members[chosen], strict=True)]
        truth += of_truth[chosen]
        counts[chosen] += 1
        if worths[chosen] > best:
            best, best_counts = worths[chosen], counts.copy()
    best_counts /= best_counts.sum()
    return best_counts


def _by_class(member: Probabilities, of_class: list[NDArray[np.intp]]) -> list[Probabilities]:
    """The rows of each class as columns, K arrays (K, n): a maximum over classes then takes n at once."""
    return [np.ascontiguousarray(member[rows].T) for rows in of_class]


def _right(total: list[Probabilities], member: list[Probabilities], share: np.float32) -> int:
    """Rows whose class is the most probable to a bag together with a member; of equals the first counts."""
    right = 0
    for label, (bag, part) in enumerate(zip(total, member, strict=True)):
        each = (bag + part) / share
        before, after = each[:label].max(axis=0, initial=-1), each[label + 1 :].max(axis=0, initial=-1)
        right += int(np.count_nonzero((each[label] > before) & (each[label] >= after)))
    return right


def _loss(truth: NDArray[np.float32]) -> float:
    """Mean loss of probabilities (N,) of the true classes."""
    return float(scores.losses(truth[:, None], np.zeros(len(truth), np.int64)).mean())


def _worth(probabilities: Probabilities, labels: Labels) -> tuple[int, float]:
    """Rows right, then less log loss: greater is better."""
    right = int(np.count_nonzero(scores.correct(probabilities, labels)))
    return right, -float(scores.losses(probabilities, labels).mean())


# ---------------------------------------------------------------- what a rule is worth


def cross_fitted(
    rule: Rule, oof: Members, labels: Labels, folds: NDArray[np.integer]
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
        return _voted(oof, rule.fit(oof, labels), rule.space)
    present = np.unique(folds)
    if len(present) < 2:
        return None
    voted = np.empty(oof[0].shape, np.float32)
    for fold in present:
        own = folds == fold
        weights = rule.fit([member[~own] for member in oof], labels[~own])
        voted[own] = _voted([member[own] for member in oof], weights, rule.space)
    return voted


@dataclass(frozen=True)
class Row:
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


def compare(
    members: Members,
    names: Sequence[str],
    labels: Labels,
    folds: NDArray[np.integer],
    rules: Sequence[Rule] | None = None,
) -> list[Row]:
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
        M rows of members, then one a rule.

    Raises:
        UserError: a member holds no probabilities.
        ValueError: lengths that do not fit, labels outside 0..K-1, or no rows.
    """
    if len(members) != len(names) or len(labels) != len(folds):
        raise ValueError("one name a member, one label and one fold a row")
    check_members(members, names)
    best = max(range(len(members)), key=lambda index: _worth(members[index], labels))
    plain = scores.correct(_voted(members, mean(members, labels), "probability"), labels)
    single = scores.correct(members[best], labels)

    def row(voted: Probabilities | None, name: str, kind: Literal["member", "rule"]) -> Row:
        if voted is None:
            return Row(name, kind)
        right = scores.correct(voted, labels)
        itself = {("rule", "mean"): "mean", ("member", names[best]): "best"}.get((kind, name))
        to_mean = None if itself == "mean" else scores.paired_difference(right, plain)
        to_best = None if itself == "best" else scores.paired_difference(right, single)
        return Row(name, kind, scores.share(right), scores.log_loss(voted, labels), to_mean, to_best)

    alone = [row(member, name, "member") for member, name in zip(members, names, strict=True)]
    rules = list(RULES.values()) if rules is None else rules
    voting = [row(cross_fitted(each, members, labels, folds), each.name, "rule") for each in rules]
    return alone + voting


def choose_rule(requested: str, table: Sequence[Row]) -> str:
    """The rule that votes.

    `auto` is `mean`, unless other rules beat it by more than two standard errors of the paired
    difference; then it is the most accurate of these.

    Args:
        requested: `auto` or the name of a rule.
        table: what `compare` returned.

    Raises:
        UserError: an unknown rule, or a fitted one that has no score because one fold is trained.
    """
    rules = {row.name: row for row in table if row.kind == "rule"}
    if requested == "auto":
        gains = {row.name: row.to_mean for row in rules.values() if row.to_mean}
        better = [name for name, gain in gains.items() if gain.verdict == "better"]
        return max(better, key=lambda name: gains[name].value, default="mean")
    if requested not in rules:
        raise UserError(f"ensemble.rule: no rule '{requested}'; {one_of(['auto', *rules], requested)}")
    if rules[requested].accuracy is None:
        raise UserError(
            f"ensemble.rule: '{requested}' fits weights and needs two trained folds to be scored; "
            "train another fold or set rule: mean"
        )
    return requested


def render_table(table: Sequence[Row]) -> str:
    """What `compare` returned, as aligned plain text, with words on how to read it and on each rule.

    Differences are in points of accuracy. 98 columns while names have at most 14 letters.
    """
    header = ["voter", "accuracy", "log loss", "to mean", "to best member", "against the mean"]
    lines = [
        [row.name if row.kind == "member" else f"= {row.name}"]
        + [str(cell) if cell else "" for cell in (row.accuracy, row.log_loss, row.to_mean, row.to_best)]
        + [row.words]
        for row in table
    ]
    explanation = [
        "= is a vote of all members; weights that are fitted are scored on folds they have not seen.",
        "± one standard error; noise is a difference of at most two, to mean and to best member in points.",
    ]
    for row in table:
        if row.kind == "rule" and row.to_best is not None:
            words = scores.in_words(row.to_best.value, row.to_best.standard_error)
            explanation.append(f"{row.name} against the best member alone: {words}")
    return tables.render(header, lines) + "\n".join(explanation) + "\n"
