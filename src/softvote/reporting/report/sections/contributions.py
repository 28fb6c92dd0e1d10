"""What each member adds to the vote."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from softvote.ensembling.vote import weighted_mean
from softvote.reporting.report.blocks import Block, Cell, DataTable, Paragraph, Tone
from softvote.reporting.report.section import (
    LeftOutError,
    ReportData,
    needs_two_members,
    needs_vote,
    section,
)


@section(
    "contributions",
    "What each member adds",
    "Would the vote miss it?",
    needs_two_members,
    needs_vote,
    rank=20,
)
def build_contributions(data: ReportData) -> Sequence[Block]:
    """Build the table of the vote without each member in turn."""
    assert data.vote_record is not None, "a vote has its record"
    record = data.vote_record
    names = [name for name, weight in record.weights.items() if weight > 0 and name in data.members]
    if len(names) < 2:
        raise LeftOutError("one member has all the weight")
    oof, weights = [data.members[name].oof for name in names], np.array([record.weights[n] for n in names])
    weights = weights / weights.sum()
    scorer, blocks = data.row_scorer, data.task.blocks
    whole = weighted_mean(oof, weights, record.space, blocks)
    score, loss = scorer.evaluate(whole, data.labels), scorer.log_loss(whole, data.labels)
    rows: list[list[Cell | str]] = []
    for index, name in enumerate(names):
        rest = np.delete(np.arange(len(names)), index)
        others = weights[rest] / weights[rest].sum()
        without = weighted_mean([oof[place] for place in rest], others, record.space, blocks)
        gain = score.minus(scorer.evaluate(without, data.labels))
        saved = scorer.log_loss(without, data.labels).minus(loss)
        words = {"better": "adds", "worse": "harms", "noise": "noise"}[gain.verdict]
        tone: Tone = "good" if words == "adds" else "bad" if words == "harms" else ""
        weight = float(weights[index])
        rows.append(
            [
                name,
                Cell(f"{weight:.3f}", weight),
                Cell(str(gain), gain.gain),
                Cell(words, tone=tone),
                Cell(str(saved), saved.value),
            ]
        )
    rows.sort(key=lambda row: -float(row[2].sort or 0) if isinstance(row[2], Cell) else 0)
    header = ["member", "weight", f"{data.scorer.metric.title} it adds", "which is", "log loss it saves"]
    note = (
        "The vote with all members less the vote without this one, on the same rows, with the paired "
        "standard error; the other weights are scaled up, not fitted anew. A member whose part is noise can "
        "go without a loss that these rows could show, but of several that are alike perhaps not all."
    )
    zero = [name for name, weight in record.weights.items() if weight == 0]
    if zero:
        note += f" Without weight in the vote: {', '.join(zero)}."
    return [
        DataTable(header, rows, f"Leave one out of {data.pipeline.ensemble.name}"),
        Paragraph(note, "note"),
    ]
