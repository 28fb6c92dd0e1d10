"""What lies beside probabilities: their scores, and the vote that made them."""

from __future__ import annotations

from softvote.ensembling.vote import Space
from softvote.metrics.scores import Score
from softvote.storage.records import JsonRecord, key


class ScoreRecord(JsonRecord):
    """`scores.json`: what out-of-fold probabilities score; without out-of-fold rows there are no scores.

    Attributes:
        fingerprint: of the work that the probabilities came from.
        squared_error: of the expected sum; only where labels are sums.
        checksums: sha256 of the out-of-fold and the test probabilities.
    """

    fingerprint: str = key("key", "")
    accuracy: Score | None = None
    log_loss: Score | None = None
    squared_error: Score | None = None
    checksums: list[str] = key("content", [])

    def score(self, metric: str) -> Score:
        """The score of a metric that was taken."""
        found = getattr(self, metric)
        assert isinstance(found, Score), metric
        return found


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
