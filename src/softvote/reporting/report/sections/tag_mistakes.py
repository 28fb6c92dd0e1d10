"""The images on which a tag is wrong and the voter was sure of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from softvote.reporting.report.blocks import Block, Gallery, Paragraph
from softvote.reporting.report.section import ReportData, needs_members, needs_tags, section
from softvote.words import counted

_MOST_TAGS = 12
_PICTURES = 12


@section(
    "tag_mistakes",
    "Surest mistakes per tag",
    "Which images would a person look at first, of the tags that are wrong most often?",
    needs_members,
    needs_tags,
    rank=50,
)
def build_tag_mistakes(data: ReportData) -> Sequence[Block]:
    """Build a gallery per tag, missed and wrongly named ones by how far the probability was off."""
    wrong = (data.labels > 0) != (data.answers > 0)
    counts = wrong.sum(axis=0)
    if not counts.any():
        return [Paragraph(f"{data.shown[0]} makes no mistake in {counted(len(wrong), 'row')}.")]
    off = np.abs(data.oof - data.labels)
    worst = np.argsort(-counts, kind="stable")[:_MOST_TAGS]
    blocks: list[Block] = []
    for tag in worst[counts[worst] > 0].tolist():
        positions = np.flatnonzero(wrong[:, tag])
        surest = positions[np.argsort(-off[positions, tag], kind="stable")][:_PICTURES]
        missed = int((wrong[:, tag] & (data.labels[:, tag] > 0)).sum())
        title = (
            f"{data.classes[tag]}: missed {missed:,}, wrongly named {counts[tag] - missed:,}; "
            f"the surest {len(surest)}"
        )
        blocks.append(Gallery([data.create_card(int(position), False) for position in surest], title))
    rest = int(np.count_nonzero(counts)) - len(blocks)
    if rest > 0:
        more = counted(rest, "more tag has", "more tags have")
        blocks.append(Paragraph(f"{more} mistakes: see the counts under Tags.", "note"))
    return blocks
