"""What a voter says of images, by the networks in its folders."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from softvote.data.pixels import Pixels
from softvote.ensembling.ensemble import Ensemble, EnsembleMember
from softvote.ensembling.predictions import Predictions, merge_folds
from softvote.ensembling.vote import soft_vote
from softvote.inference.loading import load_predictor


def predict_proba(
    voter: Ensemble, images: Pixels, addends: NDArray[np.int64] | None = None
) -> NDArray[np.float32]:
    """What a voter says of images, by its networks in the precision they were trained in.

    On the machine that trained them, the test images give bit for bit what the train and ensemble stages
    stored. One network at a time is in memory.

    Args:
        voter: its members without weight are left out.
        images: uint8 (N, C, H, W).
        addends: int64 (N,), where the task has them.

    Returns:
        float32 (N, K), rows that sum to 1 as their task has it.

    Raises:
        UserError: a training is missing or damaged.
    """
    voting = voter.voting
    members = [
        mean_of_folds([load_predictor(fold).probabilities(images, addends) for fold in member.folds])
        for member in voting
    ]
    return vote_of(voter, voting, members)


def mean_of_folds(found: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """A member's probabilities, float32 (N, K), from those of its trainings."""
    no_rows = np.empty(0, np.int64)
    return merge_folds([Predictions(no_rows, test[:0], test) for test in found]).test


def vote_of(
    voter: Ensemble, voting: Sequence[EnsembleMember], members: Sequence[NDArray[np.float32]]
) -> NDArray[np.float32]:
    """The vote float32 (N, K) of all members that have weight, or of some of them with their own weights.

    Args:
        members: float32 (N, K), the probabilities of each.
    """
    if not voter.rule:
        return members[0]
    weights = np.array([member.weight for member in voting])
    if len(voting) < len(voter.voting):
        weights /= weights.sum()
    return soft_vote(members, weights, voter.space, [member.name for member in voting], voter.blocks)
