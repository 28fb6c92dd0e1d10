"""What lies beside probabilities: their scores, and the vote that made them."""

from __future__ import annotations

from typing import Any

from softvote.ensembling.vote import Space
from softvote.metrics.scores import Score
from softvote.storage.records import JsonRecord, key


class ScoreRecord(JsonRecord):
    """`scores.json`: what out-of-fold probabilities score; without out-of-fold rows there are no scores.

    Attributes:
        fingerprint: of the work that the probabilities came from.
        squared_error: of the expected sum; only where labels are sums.
        metric: what the competition is scored by, as `MetricConfig` has it in words; empty for accuracy.
        value: the score by that metric, where it is another than accuracy or something was decided.
        value_without: the same where nothing is fitted, if the decision was.
        decision: what was decided by, in words.
        checksums: sha256 of the out-of-fold and the test probabilities.
    """

    fingerprint: str = key("key", "")
    accuracy: Score | None = None
    log_loss: Score | None = None
    squared_error: Score | None = None
    metric: str = ""
    value: Score | None = None
    value_without: Score | None = None
    decision: str = ""
    checksums: list[str] = key("content", [])

    @property
    def headline(self) -> Score:
        """The score by the competition's metric."""
        return self.value or self.score("accuracy")

    def score(self, metric: str) -> Score:
        """The score of a metric that was taken."""
        found = getattr(self, metric)
        assert isinstance(found, Score), metric
        return found


class DecisionRecord(JsonRecord):
    """`decision.json`: how a voter's probabilities become what is submitted, where that could be fitted.

    Attributes:
        decision: its keys, as a pipeline file has them.
        fitted: the numbers that were fitted; none where it is decided without.
    """

    decision: dict[str, Any]
    fitted: list[float]


class VoteRecord(JsonRecord):
    """`vote.json`: how an ensemble votes.

    Attributes:
        rule: that the weights came from.
        space: in which the members are averaged.
        weights: of the members, by name; they sum to 1.
    """

    rule: str
    space: Space
    weights: dict[str, float]
