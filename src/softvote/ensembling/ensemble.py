"""Voters: whose trainings make a voter's probabilities, and how, found from its folder alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from softvote.ensembling.predictions import (
    Predictions,
    has_intact_predictions,
    merge_folds,
    read_predictions,
)
from softvote.ensembling.records import DecisionRecord, VoteRecord
from softvote.ensembling.scorer import FittedDecision
from softvote.ensembling.vote import ALL_COLUMNS, Blocks, Space, soft_vote
from softvote.errors import UserError
from softvote.inference.record import TrainingRecord
from softvote.storage.paths import FoldFolder, PredictionsFolder

_ROUNDING = 1e-6  # by which the same mean may differ from machine to machine


@dataclass(frozen=True)
class EnsembleMember:
    """One member in a voter.

    Attributes:
        name: the member's.
        weight: in the vote.
        folds: its trainings, whose probabilities are averaged.
    """

    name: str
    weight: float
    folds: list[FoldFolder]


@dataclass(frozen=True)
class Ensemble:
    """Members, and the vote that makes them one; a member alone is a vote of one.

    Attributes:
        name: of the member or the ensemble.
        members: with their weights, which sum to 1.
        rule: of the vote; empty for a member alone.
        space: in which the members are averaged.
        decision: how its probabilities become what is submitted; None where none is kept beside them.
    """

    name: str
    members: list[EnsembleMember]
    rule: str = ""
    space: Space = "probability"
    decision: FittedDecision | None = None

    @property
    def voting(self) -> list[EnsembleMember]:
        """The members that have weight."""
        return [member for member in self.members if member.weight > 0]

    @property
    def blocks(self) -> Blocks:
        """The columns that sum to 1, as the record of a training has its task."""
        return _blocks_of(self.members[0].folds)


def from_members(
    name: str, vote: PredictionsFolder | None, folds_of: Callable[[str], list[FoldFolder]]
) -> Ensemble:
    """A voter from its parts.

    Args:
        vote: holds rule and weights of the ensemble; None for a member alone.
        folds_of: the trainings of a member.

    Raises:
        UserError: rule or weights are damaged.
    """
    if vote is None:
        return Ensemble(name, [EnsembleMember(name, 1.0, folds_of(name))])
    record = read_vote(vote)
    members = [EnsembleMember(member, weight, folds_of(member)) for member, weight in record.weights.items()]
    return Ensemble(name, members, record.rule, record.space)


def load_ensemble(path: Path) -> Ensemble:
    """The voter whose folder this is: of one fold, of a member or of an ensemble.

    A fold decides as its member does: decisions are fitted on all out-of-fold rows, never on those of one.

    Raises:
        UserError: there is none, it is unfinished, or its parts are no longer what it was made from.
    """
    folder, name = PredictionsFolder(path), path.resolve().name
    if FoldFolder(path).recipe.is_file():
        member = path.resolve().parent
        fold = Ensemble(name, [EnsembleMember(member.name, 1.0, [FoldFolder(path)])])
        return replace(fold, decision=_read_decision_of_member(PredictionsFolder(member)))
    if folder.vote.is_file():
        return replace(_load_vote(folder, name), decision=_read_kept_decision(folder))
    if folder.folds():
        voter = Ensemble(name, [EnsembleMember(name, 1.0, _intact_folds(folder))])
        return replace(voter, decision=_read_kept_decision(folder))
    raise UserError.at(
        path,
        "holds no model",
        "name a program.pt2, a program.onnx, or the folder of an export, an ensemble, a member or a fold",
    )


def read_vote(folder: PredictionsFolder) -> VoteRecord:
    """Rule, space and weights of an ensemble.

    Raises:
        UserError: they are missing or damaged.
    """
    record = VoteRecord.read(folder.vote)
    if record is None:
        raise UserError.at(folder.vote, "is damaged", "run the ensemble stage")
    return record


def _read_kept_decision(folder: PredictionsFolder) -> FittedDecision | None:
    if not folder.decision.is_file():
        return None
    record = DecisionRecord.read(folder.decision)
    try:
        if record is not None:
            return FittedDecision.of_record(record)
    except (KeyError, ValueError):  # a decision that there is not, or keys that it does not have
        pass
    raise UserError.at(folder.decision, "is damaged", "run the train and ensemble stages again")


def _read_decision_of_member(member: PredictionsFolder) -> FittedDecision | None:
    """What a member decides by, if it was fitted on what the folds that lie there predict."""
    decision = _read_kept_decision(member)
    if decision is not None and decision.fitted:
        try:
            _intact_folds(member)
        except UserError as error:
            why = "; ".join(problem.what for problem in error.problems)
            what = f"was fitted for other networks than lie beside it: {why}"
            raise UserError.at(member.decision, what, "run the train stage") from None
    return decision


def _load_vote(folder: PredictionsFolder, name: str) -> Ensemble:
    vote = read_vote(folder)
    weights = vote.weights
    folders = {member: PredictionsFolder(folder.path.parent / member) for member in weights}
    members = [EnsembleMember(member, weights[member], _intact_folds(folders[member])) for member in weights]
    tests = [read_predictions(folders[member]).test for member in weights]
    blocks = _blocks_of(members[0].folds)
    voted = soft_vote(tests, np.array(list(weights.values())), vote.space, list(weights), blocks)
    if not _test_rows_match(voted, folder):
        raise UserError.at(folder.path, "is not the vote of the members beside it", "run the ensemble stage")
    return Ensemble(name, members, vote.rule, vote.space)


def _blocks_of(folds: list[FoldFolder]) -> Blocks:
    record = TrainingRecord.read(folds[0].recipe) if folds else None
    return record.task.blocks if record else ALL_COLUMNS


def _intact_folds(member: PredictionsFolder) -> list[FoldFolder]:
    """A member's trainings, if its probabilities on disk are theirs."""
    folds = member.folds()
    unfinished = [fold.path.name for fold in folds if not has_intact_predictions(fold)]
    if not folds or unfinished:
        what = ", ".join(unfinished) or "every fold"
        raise UserError.at(member.path, f"{what} is unfinished or damaged", "run the train stage")
    if not _predictions_match(merge_folds([read_predictions(fold) for fold in folds]), member):
        raise UserError.at(
            member.path,
            "its probabilities are not the mean of the folds in it",
            "run the train stage, and delete folds that the pipeline no longer trains",
        )
    return folds


def _predictions_match(predictions: Predictions, folder: PredictionsFolder) -> bool:
    """Whether the voter's stored probabilities are these, also where there are no test rows."""
    if not _test_rows_match(predictions.test, folder):
        return False
    stored = read_predictions(folder)
    return np.array_equal(stored.rows, predictions.rows) and _are_alike(stored.oof, predictions.oof)


def _test_rows_match(test: NDArray[np.float32], folder: PredictionsFolder) -> bool:
    """Whether the voter's stored probabilities of the test rows are these."""
    return has_intact_predictions(folder) and _are_alike(read_predictions(folder).test, test)


def _are_alike(one: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
    return one.shape == other.shape and bool(np.allclose(one, other, rtol=0, atol=_ROUNDING))
