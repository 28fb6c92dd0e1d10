"""The table of members and rules."""

from __future__ import annotations

from collections.abc import Sequence

from softvote.ensembling.comparison import ComparisonRow
from softvote.metrics import scores
from softvote.reporting import tables


def render_table(table: Sequence[ComparisonRow]) -> str:
    """The rows of a comparison as aligned plain text, with words on how to read it and on each rule.

    Differences are in points of accuracy. 98 columns while names have at most 14 letters.
    """
    header = ["voter", "accuracy", "log loss", "to mean", "to best member", "against the mean"]
    lines = [
        [row.name if row.kind == "member" else f"= {row.name}"]
        + [str(cell) if cell else "" for cell in (row.accuracy, row.log_loss, row.to_mean, row.to_best)]
        + [row.words]
        for row in table
    ]
    explanation = [
        "= is a vote of all members; weights that are fitted are scored on folds they have not seen.",
        "± one standard error; noise is a difference of at most two, to mean and to best member in points.",
    ]
    for row in table:
        if row.kind == "rule" and row.to_best is not None:
            words = scores.verdict_text(row.to_best.value, row.to_best.standard_error)
            explanation.append(f"{row.name} against the best member alone: {words}")
    return tables.render(header, lines) + "\n".join(explanation) + "\n"
