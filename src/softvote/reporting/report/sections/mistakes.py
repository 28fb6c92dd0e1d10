"""The images at both ends: surely wrong, and barely right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from softvote.reporting.report.blocks import Block, Gallery, Paragraph
from softvote.reporting.report.section import ReportData, needs_members, needs_one_label, section

_MOST = 36


@section(
    "mistakes",
    "Surest mistakes, least sure rights",
    "Where is the voter wrong and sure of it, where nearly wrong?",
    needs_members,
    needs_one_label,
    rank=50,
)
def build_mistakes(data: ReportData) -> Sequence[Block]:
    """Build both galleries."""
    right = data.guesses == data.labels
    wrong, rights = np.flatnonzero(~right), np.flatnonzero(right)
    surest = wrong[np.argsort(-data.confidence[wrong], kind="stable")][:_MOST]
    least = rights[np.argsort(data.confidence[rights], kind="stable")][:_MOST]
    blocks: list[Block] = []
    if len(surest):
        title = f"Surest mistakes: {len(surest)} of {len(wrong):,} in {len(right):,} rows"
        blocks.append(Gallery([data.create_card(int(position)) for position in surest], title))
    else:
        blocks.append(Paragraph(f"{data.shown[0]} makes no mistake in {len(right):,} rows."))
    if len(least):
        title = f"Least sure right answers: {len(least)} of {len(rights):,}"
        blocks.append(Gallery([data.create_card(int(position)) for position in least], title))
    return blocks
