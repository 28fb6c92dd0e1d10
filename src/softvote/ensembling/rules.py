"""The rules that give every member a weight."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from softvote.ensembling.vote import Members, Probabilities, Space, Weights
from softvote.metrics import Labels, scores
from softvote.task import Task

if TYPE_CHECKING:
    from softvote.ensembling.scorer import Scorer

    Fit = Callable[[Members, Labels, Scorer], Weights]


RULES_VERSION = 1
"""Bumped whenever a rule gives other weights for the same probabilities."""


@dataclass(frozen=True)
class Rule:
    """How weights come about.

    `fit(oof (M, N, K), labels, scorer)` returns weights float64 (M,), not negative and summing to 1; the
    scorer knows what is scored. `fitted` says whether it looks at the labels.
    """

    name: str
    space: Space
    fitted: bool
    fit: Fit


_ROUNDS, _PATIENCE = 25, 5


RULES: dict[str, Rule] = {}


def rule(space: Space, fitted: bool, name: str | None = None) -> Callable[[Fit], Fit]:
    """Register a fit function as a rule, of the function's name where no other is given."""

    def register(fit: Fit) -> Fit:
        key = name or fit.__name__
        RULES[key] = Rule(key, space, fitted, fit)
        return fit

    return register


@rule(space="probability", fitted=False)
def mean(oof: Members, labels: Labels, scorer: Scorer) -> Weights:
    """Every member alike, probabilities averaged."""
    return np.full(len(oof), 1 / len(oof))


@rule(space="logit", fitted=False)
def mean_logits(oof: Members, labels: Labels, scorer: Scorer) -> Weights:
    """Every member alike, logits averaged: one sure member outweighs several unsure ones."""
    return np.full(len(oof), 1 / len(oof))


@rule(space="probability", fitted=True, name="log_loss")
def minimise_log_loss(oof: Members, labels: Labels, scorer: Scorer) -> Weights:
    """The weights whose mean has the least log loss, by sequential quadratic programming.

    The loss is the mean over rows, of tags and targets over these too, whatever weights the metric has.

    With the members as components, these are maximum likelihood mixture weights (as portfolio selection,
    Cover 1984). The problem is convex. Expectation-maximisation solves it too, but where members are
    nearly alike it takes thousands of steps, and this takes dozens.
    """
    from scipy.optimize import minimize

    of_truth = np.stack(_of_truth(oof, labels, scorer.space.task), axis=1)
    truth = np.maximum(of_truth.astype(np.float64), scores.FLOOR)

    def loss(weights: Weights) -> tuple[float, Weights]:
        mixed = np.maximum(truth @ weights, scores.FLOOR)  # on its way the search may leave the simplex
        return -float(np.log(mixed).mean()), -(1 / mixed) @ truth / len(truth)

    equal = np.full(len(oof), 1 / len(oof))
    on_simplex = {"type": "eq", "fun": lambda weights: weights.sum() - 1, "jac": np.ones_like}
    bounds, options = [(0, 1)] * len(oof), {"ftol": 1e-12, "maxiter": 1000}
    found = minimize(
        loss, equal, jac=True, method="SLSQP", bounds=bounds, constraints=on_simplex, options=options
    )
    weights: Weights = np.maximum(found.x, 0)
    weights /= weights.sum()
    return weights if loss(weights)[0] < loss(equal)[0] else equal


def _of_truth(oof: Members, labels: Labels, task: Task) -> list[NDArray[np.float32]]:
    """Each member's probabilities of what is true, (N,); of tags and targets one after the other."""
    if task.kind == "tags":
        return [np.where(labels > 0, member, 1 - member).ravel() for member in oof]
    rows, starts = np.arange(len(labels)), [block.start for block in task.blocks]
    several = labels[:, None] if labels.ndim == 1 else labels
    columns = [start + several[:, target] for target, start in enumerate(starts)]
    return [np.concatenate([member[rows, column] for column in columns]) for member in oof]


@rule(space="probability", fitted=True)
def greedy(oof: Members, labels: Labels, scorer: Scorer) -> Weights:
    """Ensemble selection with replacement (Caruana et al. 2004): 25 rounds, the best bag of them.

    Each round adds the member that scores best together with those already chosen; ties go to the lower log
    loss, then to the earlier member. For log loss the rule `log_loss` already finds the exact optimum. The
    first round takes the best single member, so the bag is never worse than that one on the rows it is
    fitted on.
    """
    return _by_accuracy(oof, labels, scorer) if scorer.is_plain_accuracy else _by_metric(oof, labels, scorer)


def _by_metric(oof: Members, labels: Labels, scorer: Scorer) -> Weights:
    """By any metric, until five rounds in a row have brought nothing: most are dear to compute."""
    total = np.zeros(oof[0].shape, np.float32)
    counts, best_counts = np.zeros(len(oof)), np.zeros(len(oof))
    best, best_size = (-np.inf, -np.inf), 0
    for size in range(1, _ROUNDS + 1):
        bags = [(total + member) / np.float32(size) for member in oof]
        worths = [scorer.worth(bag, labels) for bag in bags]
        most = max(worths)
        tied = {index: -_mean_loss(bags[index], labels, scorer) for index in _places(worths, most)}
        chosen = max(tied, key=tied.__getitem__)
        total = total + oof[chosen]
        counts[chosen] += 1
        if (most, tied[chosen]) > best:
            best, best_size, best_counts = (most, tied[chosen]), size, counts.copy()
        if size - best_size >= _PATIENCE:
            break
    weights: Weights = best_counts / best_counts.sum()
    return weights


def _places(worths: list[float], most: float) -> list[int]:
    """Where they are the most; all of them if none is a number."""
    return [index for index, worth in enumerate(worths) if worth == most] or [*range(len(worths))]


def _mean_loss(probabilities: Probabilities, labels: Labels, scorer: Scorer) -> float:
    return scorer.log_loss(probabilities, labels).score.value


def _by_accuracy(oof: Members, labels: Labels, scorer: Scorer) -> Weights:
    """By rows that are right; ties go to the lower log loss."""
    of_class = [np.flatnonzero(labels == label) for label in range(oof[0].shape[1])]
    members = [_by_class(member, of_class) for member in oof]
    of_truth = _of_truth(oof, labels, scorer.space.task)
    total, truth = [np.zeros_like(part) for part in members[0]], np.zeros(len(labels), np.float32)
    counts, best_counts = np.zeros(len(oof)), np.zeros(len(oof))
    best = (-1, -np.inf)
    for size in range(1, _ROUNDS + 1):
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
