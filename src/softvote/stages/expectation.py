"""What a submission may be expected to score: from its own networks, or from a twin with known answers."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from softvote.ensembling.ensemble import read_vote
from softvote.ensembling.expected import MOST_TEST_ROWS, expected_score
from softvote.ensembling.predictions import has_intact_predictions, read_predictions
from softvote.ensembling.records import ScoreRecord, VoteRecord
from softvote.ensembling.vote import Probabilities, weighted_mean
from softvote.metrics import Labels
from softvote.metrics.base import Metric
from softvote.metrics.scores import Score
from softvote.scheduling.job import REFIT
from softvote.stages.plan import Plan, read_decision
from softvote.tracking.ledger import Entry, read_ledger


def expect(plan: Plan, voter: str) -> Score | None:
    """The score that a voter's submission may be expected to have.

    Where the pipeline names a twin whose submission of the same voter is in the ledger, what test rows did to
    the twin's score is added to this one's; else what averaging the networks of all folds gains.

    Returns:
        None where nothing was scored; and without a twin, where networks learned the test images, which no
        row of training can stand for, or where predictions of single folds are damaged: a submission does not
        need them.

    Raises:
        UserError: a damaged ledger.
    """
    record = ScoreRecord.read(plan.run.folder.predictions(voter).scores)
    if record is None or record.accuracy is None:
        return None
    cv = record.headline
    twin = newest_twin(plan, voter)
    if twin:
        return _within_range(_as_twin(cv, twin), plan.scorer.metric)
    expected = None if plan.transductive_among([voter]) else _with_all_folds(plan, voter, cv)
    return expected and _within_range(expected, plan.scorer.metric)


def _within_range(score: Score, metric: Metric) -> Score:
    """The possible score that is nearest: what is added to one near the best may lead beyond it."""
    return replace(score, value=min(max(score.value, metric.lowest), metric.highest))


def describe_source(plan: Plan, voter: str) -> str:
    """Where the expected score of a voter comes from, in words."""
    name, folds = plan.run.pipeline.twin, len(plan.run.pipeline.folds.trained)
    if name is not None and newest_twin(plan, voter):
        return f"as what {name} scored beyond its cross-validation"
    together = f"as networks of {folds} folds vote together" if folds > 1 else "as in cross-validation"
    return together if name is None else f"{together}; its twin {name} has no such row in the ledger"


def newest_twin(plan: Plan, voter: str) -> Entry | None:
    """The newest row in the ledger of the same voter in the pipeline's twin, where its solution is known.

    One that learned its test images stands for one that did, and no other.
    """
    twin, metric = plan.run.pipeline.twin, str(plan.run.pipeline.competition.metric)
    if twin is None:
        return None
    learned_test = bool(plan.transductive_among([voter]))
    rows = [
        entry
        for entry in read_ledger(plan.run.workspace.ledger)
        if (entry.pipeline, entry.ensemble.split(":")[0], entry.metric) == (twin, voter, metric)
        and entry.is_transductive == learned_test
        and entry.solution is not None
    ]
    return rows[-1] if rows else None


def _as_twin(cv: Score, twin: Entry) -> Score:
    assert twin.solution is not None, "twins have a solution"
    errors = (cv.standard_error, twin.cv.standard_error, twin.solution.standard_error)
    return Score(cv.value + twin.solution.value - twin.cv.value, math.hypot(*errors), cv.rows, cv.percent)


def _with_all_folds(plan: Plan, voter: str, cv: Score) -> Score | None:
    folder = plan.run.folder.predictions(voter)
    vote = read_vote(folder) if voter == plan.run.pipeline.ensemble.name else None
    jobs = [job for name in (vote.weights if vote else [voter]) for job in plan.jobs_of(name)]
    if not all(has_intact_predictions(job.folder, plan.files) for job in jobs):
        return None
    submitted = read_predictions(folder).test
    if len(submitted) == 0 or len(plan.run.pipeline.folds.trained) < 2:
        return cv
    spread = np.linspace(0, len(submitted) - 1, min(len(submitted), MOST_TEST_ROWS)).astype(np.int64)
    folds = [_vote_of_fold(plan, voter, vote, fold, spread) for fold in plan.run.pipeline.folds.trained]
    decision, scorer = read_decision(plan.run, voter), plan.scorer

    def worth(probabilities: Probabilities, labels: Labels) -> float:
        return scorer.metric.value(decision.decide(probabilities, scorer.space), labels, scorer.space)

    return expected_score(cv, folds, submitted[spread], plan.task, worth)


def _vote_of_fold(
    plan: Plan, voter: str, vote: VoteRecord | None, fold: int, rows: NDArray[np.int64]
) -> Probabilities:
    """What a voter's networks of one fold say of some of the test rows, float32 (n, K)."""

    def member(name: str) -> Probabilities:
        jobs = [job for job in plan.jobs_of(name) if job.fold == fold and job.fold != REFIT]
        tests = [read_predictions(job.folder).test[rows] for job in jobs]
        mean: NDArray[np.float64] = np.mean(tests, axis=0, dtype=np.float64)
        return mean.astype(np.float32)

    if vote is None:
        return member(voter)
    members = [member(name) for name in vote.weights]
    return weighted_mean(members, np.array(list(vote.weights.values())), vote.space, plan.task.blocks)
