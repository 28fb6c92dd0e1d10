"""The vote: the one function that applies weights to members."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from softvote.errors import UserError

Probabilities = NDArray[np.float32]


Members = Sequence[Probabilities] | NDArray[np.float32]
"""(M, N, K), or M arrays (N, K) of which some may be memory-mapped."""


ClassIndices = NDArray[np.integer]


Weights = NDArray[np.float64]


Space = Literal["probability", "logit"]


_BLOCK = 4096


_SUM_TOLERANCE = 1e-3


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
    return weighted_mean(members, weights, space)


def weighted_mean(members: Members, weights: Weights, space: Space) -> Probabilities:
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
        raise UserError.at("ensemble", "no members to vote", "name at least one")
    for index, member in enumerate(members):
        name = names[index] if names is not None else f"number {index}"
        problem = _problem(member, members[0].shape)
        if problem:
            raise UserError.at(f"member {name}", problem, "predict with it again")


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
