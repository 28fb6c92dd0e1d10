"""What a search leaves for people and for the report: its trials, the best of them, and what mattered."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from softvote.metrics.scores import Difference, Score
from softvote.storage.records import JsonRecord

TrialOutcome = Literal["scored", "stopped", "failed"]


class TrialRecord(JsonRecord):
    """One trial.

    Attributes:
        number: from 0; 0 is the pipeline as it stands.
        values: of the keys that were searched; of trial 0 those that the pipeline has.
        outcome: whether it went all the way, was stopped early, or could not be trained.
        score: of one that was scored.
        gain: its score less that of trial 0, on the same rows.
        reason: why it was stopped or failed; empty where it was not.
        seconds: from its beginning to its end.
        transductive: names of the members whose trainings, or those that they build on, had test images.
    """

    number: int
    values: dict[str, Any]
    outcome: TrialOutcome
    score: Score | None = None
    gain: Difference | None = None
    reason: str = ""
    seconds: float = 0.0
    transductive: list[str] = Field(default_factory=list)


class TuneRecord(JsonRecord):
    """`tune.json`: a search.

    Attributes:
        pipeline: whose values were searched.
        study: says all that makes the trials comparable.
        metric: that trials are scored by, in words.
        greater_is_better: whether a greater value is.
        members: whose mean a trial is scored by.
        folds: that scored the trials, from 0.
        of_folds: how many there are.
        table: fingerprint of the table of folds.
        trials: in the order of their numbers.
        best: number of the best one that was scored.
        importance: proportion of what the searched keys explain of the score, by key, the greatest first;
            empty where too few trials were scored.
    """

    pipeline: str
    study: str
    metric: str
    greater_is_better: bool
    members: list[str]
    folds: list[int]
    of_folds: int
    table: str
    trials: list[TrialRecord]
    best: int
    importance: dict[str, float] = Field(default_factory=dict)

    def trial(self, number: int) -> TrialRecord:
        """The trial of that number."""
        return next(trial for trial in self.trials if trial.number == number)

    @property
    def scored(self) -> list[TrialRecord]:
        """Trials that went all the way, the best first; of equals the first."""
        sign = -1 if self.greater_is_better else 1
        found = [trial for trial in self.trials if trial.score]
        return sorted(found, key=lambda trial: sign * trial.score.value if trial.score else 0.0)

    @property
    def transductive(self) -> list[str]:
        """Members that learned test images in some trial that was scored, in their order."""
        learned = {name for trial in self.scored for name in trial.transductive}
        return [name for name in self.members if name in learned]

    @property
    def where(self) -> str:
        """Which rows scored the trials, in words: `fold 4 of 0..4`."""
        folds = ", ".join(map(str, self.folds))
        return f"fold{'s' if len(self.folds) > 1 else ''} {folds} of 0..{self.of_folds - 1}"
