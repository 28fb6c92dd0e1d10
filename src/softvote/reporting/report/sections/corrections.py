"""What corrected labels do to the scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from softvote.reporting.report.blocks import Block, Cell, DataTable, Paragraph
from softvote.reporting.report.section import ReportData, needs_members, section
from softvote.words import counted


@section(
    "corrections",
    "Corrected labels",
    "What do the scores say on the labels as they were given?",
    needs_members,
    rank=15,
)
def build_corrections(data: ReportData) -> Sequence[Block]:
    """Build the score of every voter on corrected and on given labels."""
    if data.given_labels is None:
        return []  # which is how it should be, and needs no word
    given = data.given_labels[data.rows]
    changed = int(np.count_nonzero(data.given_labels != data.dataset.train_labels))
    voters = {name: each.oof for name, each in data.members.items()}
    if data.vote is not None:
        voters |= {data.pipeline.ensemble.name: data.vote.oof}
    rows: list[list[Cell | str]] = []
    for name, oof in voters.items():
        both = (data.row_scorer.evaluate(oof, labels).score for labels in (data.labels, given))
        rows.append([name, *(Cell(str(score), score.value) for score in both)])
    text = (
        f"{counted(changed, 'training label is', 'training labels are')} corrected by "
        f"{data.pipeline.competition.corrections}. All other scores of this page are on corrected "
        "labels, and flatter where labels became what a voter said: nobody corrected those "
        "of test rows. Compare pipelines by the last column."
    )
    return [Paragraph(text, "warning"), DataTable(["voter", "on corrected labels", "on given labels"], rows)]
