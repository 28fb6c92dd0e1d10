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


Weights = NDArray[np.float64]


Space = Literal["probability", "logit"]


Blocks = Sequence[slice]
"""The columns whose probabilities sum to 1 in every row, as `Task.blocks` has them; none of tags, of which
each is a probability by itself."""


ALL_COLUMNS: Blocks = (slice(None),)
"""One block, as of classes."""


_BLOCK = 4096


_SUM_TOLERANCE = 1e-3


def soft_vote(
    members: Members,
    weights: Weights,
    space: Space = "probability",
    names: Sequence[str] | None = None,
    blocks: Blocks = ALL_COLUMNS,
) -> Probabilities:
    """The weighted mean of the members' probabilities, or of their logarithms.

    Every row is voted on by itself, so out-of-fold and test rows meet the same function. In logit
    space the mean of log probabilities is renormalised; that equals the softmax of the mean logits,
    because a log probability is its logit less one constant per row. A tag's logit is that of being there or
    not: there the sigmoid of the mean logit comes out. A probability of 0 counts as the smallest normal
    float32, about where a float32 softmax reaches 0.

    Args:
        members: M arrays float32 (N, K), rows summing to 1 within 1e-3 in each block.
        weights: (M,), not negative, summing to 1.
        names: what the members are called in messages.
        blocks: the columns that sum to 1; if omitted, all together.

    Returns:
        float32 (N, K), rows summing to 1 in each block. Beyond the inputs and this, a few thousand rows are
        held.

    Raises:
        UserError: a member holds no probabilities.
        ValueError: weights off the simplex, or not one per member.
    """
    check_members(members, names, blocks)
    return weighted_mean(members, weights, space, blocks)


def weighted_mean(
    members: Members, weights: Weights, space: Space, blocks: Blocks = ALL_COLUMNS
) -> Probabilities:
    """`soft_vote` of members that are known to hold probabilities."""
    _check_weights(weights, len(members))
    vote = _mean_logits if space == "logit" else _mean_probabilities
    voted = np.empty(members[0].shape, np.float32)
    for start in range(0, len(voted), _BLOCK):
        rows = slice(start, start + _BLOCK)
        voted[rows] = vote([member[rows] for member in members], weights, blocks)
    return voted


def _mean_probabilities(
    members: Sequence[Probabilities], weights: Weights, blocks: Blocks
) -> NDArray[np.float64]:
    mean = np.zeros(members[0].shape)
    for member, weight in zip(members, weights, strict=True):
        mean += weight * member
    return _sum_to_one(mean, blocks) if blocks else np.clip(mean, 0, 1)


def _mean_logits(members: Sequence[Probabilities], weights: Weights, blocks: Blocks) -> NDArray[np.float64]:
    mean, mean_absent = np.zeros(members[0].shape), np.zeros(members[0].shape)
    for member, weight in zip(members, weights, strict=True):
        mean += weight * _log(member)
        if not blocks:
            mean_absent += weight * _log(1 - member.astype(np.float64))
    if blocks:
        return _sum_to_one(np.exp(mean), blocks)
    sigmoid: NDArray[np.float64] = 1 / (1 + np.exp(mean_absent - mean))
    return sigmoid


def _log(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    logs: NDArray[np.float64] = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny), dtype=np.float64)
    return logs


def _sum_to_one(mass: NDArray[np.float64], blocks: Blocks) -> NDArray[np.float64]:
    for block in blocks:
        mass[:, block] /= mass[:, block].sum(axis=1, keepdims=True)
    return mass


def check_members(members: Members, names: Sequence[str] | None = None, blocks: Blocks = ALL_COLUMNS) -> None:
    """Refuse what cannot vote.

    Args:
        names: what the members are called in messages.
        blocks: the columns that sum to 1; if omitted, all together.

    Raises:
        UserError: no members, shapes that differ, fewer than two classes, or a row that is not finite, not
            within 0..1 or does not sum to 1 within 1e-3 in a block; the text names the member and the row.
    """
    if len(members) == 0:
        raise UserError.at("ensemble", "no members to vote", "name at least one")
    for index, member in enumerate(members):
        name = names[index] if names is not None else f"number {index}"
        problem = _problem(member, members[0].shape, blocks)
        if problem:
            raise UserError.at(f"member {name}", problem, "predict with it again")


def _problem(member: Probabilities, shape: tuple[int, ...], blocks: Blocks) -> str:
    if member.ndim != 2 or member.shape[1] < (2 if blocks else 1):
        wanted = "two or more classes" if blocks else "one or more tags"
        return f"probabilities have shape {member.shape}, not (rows, {wanted})"
    if member.shape != shape:
        return f"probabilities have shape {member.shape}, the first member's {shape}"
    if blocks and blocks[-1].stop not in (None, member.shape[1]):
        return f"probabilities have {member.shape[1]} columns, the targets {blocks[-1].stop}"
    for start in range(0, len(member), _BLOCK):
        rows = member[start : start + _BLOCK]
        for number, block in enumerate(blocks):
            if problem := _block_problem(rows[:, block], start):
                return f"{problem}, in target {number + 1}" if len(blocks) > 1 else problem
        if not blocks and (problem := _tags_problem(rows, start)):
            return problem
    return ""


def _block_problem(rows: Probabilities, start: int) -> str:
    # A minimum and a sum a row carry NaN and infinity along.
    lowest, sums = rows.min(axis=1), rows.sum(axis=1, dtype=np.float64)
    bad = ~((lowest >= 0) & (np.abs(sums - 1) <= _SUM_TOLERANCE))
    if not bad.any():
        return ""
    row = int(bad.argmax())
    found = f"smallest {lowest[row]:.4g}, sum {sums[row]:.6g}"
    return f"row {start + row} (from 0) holds no probabilities: {found}"


def _tags_problem(rows: Probabilities, start: int) -> str:
    lowest, highest = rows.min(axis=1), rows.max(axis=1)
    bad = ~((lowest >= 0) & (highest <= 1))
    if not bad.any():
        return ""
    row = int(bad.argmax())
    found = f"smallest {lowest[row]:.4g}, largest {highest[row]:.4g}"
    return f"row {start + row} (from 0) holds no probabilities: {found}"


def _check_weights(weights: Weights, members: int) -> None:
    if weights.shape != (members,):
        raise ValueError(f"weights of shape {weights.shape} for {members} members")
    if not (weights >= 0).all() or not abs(weights.sum() - 1) <= 1e-6:
        raise ValueError(f"weights must be non-negative and sum to 1, not {weights.tolist()}")
