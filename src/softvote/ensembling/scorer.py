"""What probabilities are worth to a competition: decided first, then scored by its metric."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softvote.config.entries import DecisionConfig, MetricConfig
from softvote.config.pipeline import Pipeline
from softvote.ensembling.decisions import Decision, resolve_decision
from softvote.ensembling.decisions.argmax import Argmax
from softvote.ensembling.decisions.base import quick_worth
from softvote.ensembling.records import DecisionRecord
from softvote.ensembling.vote import Probabilities
from softvote.errors import UserError
from softvote.metrics import METRICS, Labels, Metric, PredictedArray, as_metric
from softvote.metrics.evaluation import Evaluation
from softvote.metrics.scores import Difference
from softvote.task import LabelSpace

SCORING_VERSION = 1
"""Bumped whenever a metric or a decision gives something else for the same probabilities."""


@dataclass(frozen=True, eq=False)
class Scorer:
    """Decides and scores.

    Attributes:
        metric: what is scored.
        space: the labels.
        decision: what `auto` or the pipeline takes; where it is fitted, members and rules are compared by
            what is decided without.
        is_asked_for: whether the pipeline names it, so that it is taken whether or not it is better.
        groups: integers (N,), of rows that belong together; None where rows are drawn one by one.
    """

    metric: Metric
    space: LabelSpace
    decision: Decision
    is_asked_for: bool = False
    groups: NDArray[np.integer] | None = None

    @classmethod
    def create(
        cls, metric: MetricConfig, space: LabelSpace, decision: DecisionConfig | None = None
    ) -> Scorer:
        """The scorer of a metric; without a decision, with the first that suits it."""
        resolved = resolve_decision(decision, metric, space)
        return cls(as_metric(metric), space, resolved, decision is not None)

    @classmethod
    def of_pipeline(cls, pipeline: Pipeline, groups: NDArray[Any] | None = None) -> Scorer:
        """The scorer of a pipeline's competition.

        Args:
            groups: (N,) of anything that tells groups apart.
        """
        competition = pipeline.competition
        scorer = cls.create(competition.metric, competition.label_space, pipeline.decision)
        return scorer if groups is None else replace(scorer, groups=np.unique(groups, return_inverse=True)[1])

    @property
    def is_plain_accuracy(self) -> bool:
        """Whether the most probable of several classes is all that counts."""
        return self.metric.name == "accuracy" and self.space.task.is_single_label

    @property
    def keeps_decision(self) -> bool:
        """Whether something else than the most probable may be named, so that a file says by what."""
        return self.decision.needs_fit or not FittedDecision(self.decision).is_plain

    def for_rows(self, rows: NDArray[np.int64]) -> Scorer:
        """The same, for some of the rows that `groups` are of, int64 (n,) of 0..N-1."""
        return self if self.groups is None else replace(self, groups=self.groups[rows])

    def evaluate(self, probabilities: Probabilities, labels: Labels) -> Evaluation:
        """Score what is decided without fitting anything.

        Args:
            probabilities: float32 (N, K).
            labels: as the task has them.
        """
        return self._score(self.decision.unfitted.decide(probabilities, self.space), labels)

    def worth(self, probabilities: Probabilities, labels: Labels) -> float:
        """The value that `evaluate` has, without its error and turned so that greater is better."""
        predictions = self.decision.unfitted.decide(probabilities, self.space)
        return quick_worth(self.metric, labels, self.space)(predictions)

    def log_loss(self, probabilities: Probabilities, labels: Labels) -> Evaluation:
        """The mean log loss, which says how right the probabilities themselves are."""
        loss = METRICS["log_loss"](name="log_loss")
        return loss.evaluate(probabilities, labels, self.space, self.groups)

    def _score(self, predictions: PredictedArray, labels: Labels) -> Evaluation:
        return self.metric.evaluate(predictions, labels, self.space, self.groups)

    def decide(
        self, probabilities: Probabilities, labels: Labels, folds: NDArray[np.integer]
    ) -> DecidedScore:
        """Choose and fit the decision, and score it on folds that it was not fitted on.

        A fitted decision that nobody asked for is taken where it beats what is decided without by more than
        two standard errors of the paired difference.

        Args:
            probabilities: float32 (N, K), out of fold; where weights of a vote are fitted, those that the
                vote has on folds its weights were not fitted on.
            labels: of these rows.
            folds: integers (N,).

        Raises:
            UserError: a fitted decision is asked for, and there is one fold only.
        """
        without = self.evaluate(probabilities, labels)
        plain = FittedDecision(self.decision.unfitted, ())
        if not self.decision.needs_fit:
            return DecidedScore(plain, without)
        crossed = self._cross_fit(probabilities, labels, folds)
        if crossed is None and self.is_asked_for:
            raise UserError.at(
                "decision",
                f"'{self.decision.name}' is fitted and needs two trained folds to be scored",
                "train another fold or set decision: auto",
            )
        if crossed is None:
            return DecidedScore(plain, without)
        gain = crossed.minus(without)
        if not self.is_asked_for and gain.verdict != "better":
            return DecidedScore(plain, without, passed_over=gain)
        fitted = self.decision.fit(probabilities, labels, self.space, self.metric)
        return DecidedScore(FittedDecision(self.decision, tuple(fitted)), crossed, without, gain)

    def _cross_fit(
        self, probabilities: Probabilities, labels: Labels, folds: NDArray[np.integer]
    ) -> Evaluation | None:
        """The score of what `cross_decide` decides; None of a single fold."""
        decided = self.cross_decide(probabilities, labels, folds)
        return None if decided is None else self._score(decided, labels)

    def cross_decide(
        self, probabilities: Probabilities, labels: Labels, folds: NDArray[np.integer]
    ) -> PredictedArray | None:
        """Decide each fold by what `fit_by_fold` fits; None of a single fold.

        Arguments are those of `decide`.
        """
        by_fold = self.fit_by_fold(probabilities, labels, folds)
        return self.decide_by_fold(probabilities, folds, by_fold) if len(by_fold) > 1 else None

    def fit_by_fold(
        self, probabilities: Probabilities, labels: Labels, folds: NDArray[np.integer]
    ) -> dict[int, list[float]]:
        """Fit the decision for each fold on the others; nothing of a single fold.

        Arguments are those of `decide`.

        Returns:
            the fitted numbers by the fold that they decide.
        """
        present = np.unique(folds).tolist()
        if len(present) < 2:
            return {}
        others = {fold: folds != fold for fold in present}
        return {
            fold: self.decision.fit(probabilities[rows], labels[rows], self.space, self.metric)
            for fold, rows in others.items()
        }

    def decide_by_fold(
        self, probabilities: Probabilities, folds: NDArray[np.integer], by_fold: dict[int, list[float]]
    ) -> PredictedArray:
        """Decide the rows of each fold by its own numbers.

        Args:
            probabilities: float32 (N, K).
            folds: integers (N,).
            by_fold: the numbers of each fold that is among them.

        Returns:
            what `Decision.decide` gives, in the order of the rows.
        """
        parts = {
            fold: self.decision.decide(probabilities[folds == fold], self.space, fitted)
            for fold, fitted in by_fold.items()
        }
        some = next(iter(parts.values()))
        decided = np.empty((len(probabilities), *some.shape[1:]), some.dtype)
        for fold, part in parts.items():
            decided[folds == fold] = part
        return decided


@dataclass(frozen=True)
class FittedDecision:
    """A decision with the numbers that were fitted for it.

    Attributes:
        fitted: none where it needs none.
    """

    decision: Decision
    fitted: tuple[float, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether it names nothing but what is most probable, so that nobody has to be told."""
        return self.decision.makes != "labels" or isinstance(self.decision, Argmax)

    @classmethod
    def of_record(cls, record: DecisionRecord) -> FittedDecision:
        """Read back what `record` made."""
        from softvote.ensembling.decisions import DECISIONS

        kind = DECISIONS[record.decision["name"]]
        return cls(kind.model_validate(record.decision), tuple(record.fitted))

    def record(self) -> DecisionRecord:
        """What a file keeps of it."""
        return DecisionRecord(decision=self.decision.model_dump(mode="json"), fitted=list(self.fitted))

    def decide(self, probabilities: Probabilities, space: LabelSpace) -> PredictedArray:
        """Decide on rows; see `Decision.decide`."""
        return self.decision.decide(probabilities, space, self.fitted)

    def describe(self, space: LabelSpace) -> str:
        """What is decided by, for people."""
        return self.decision.describe(space, self.fitted)


@dataclass(frozen=True)
class DecidedScore:
    """A decision and what it scores.

    Attributes:
        decision: the one that is taken.
        evaluation: of rows that it was not fitted on.
        without: what is scored without fitting, where something was fitted.
        gain: how much better the fitted one is.
        passed_over: how much better the fitted one would have been, where it was not taken.
    """

    decision: FittedDecision
    evaluation: Evaluation
    without: Evaluation | None = None
    gain: Difference | None = None
    passed_over: Difference | None = None
