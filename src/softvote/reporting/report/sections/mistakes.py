"""The images at both ends: surely wrong, and barely right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from softvote.reporting.report.blocks import Block, Gallery, Paragraph
from softvote.reporting.report.questions import Question
from softvote.reporting.report.section import ReportData, needs_members, needs_questions, section
from softvote.words import counted

_MOST = 36
_FEWEST = 8  # pictures of a gallery where there are many targets


@section(
    "mistakes",
    "Surest mistakes, least sure rights",
    "Where is the voter wrong and sure of it, where nearly wrong?",
    needs_members,
    needs_questions,
    rank=50,
)
def build_mistakes(data: ReportData) -> Sequence[Block]:
    """Build both galleries, of each question."""
    most = max(_FEWEST, _MOST // len(data.questions))
    return [block for question in data.questions for block in _build(data, question, most)]


def _build(data: ReportData, asked: Question, most: int) -> list[Block]:
    wrong, rights = np.flatnonzero(~asked.right), np.flatnonzero(asked.right)
    surest = wrong[np.argsort(-asked.confidence[wrong], kind="stable")][:most]
    least = rights[np.argsort(asked.confidence[rights], kind="stable")][:most]
    blocks: list[Block] = []
    rows = counted(len(asked.labels), "row")
    if len(surest):
        title = asked.title(f"Surest mistakes: {len(surest)} of {len(wrong):,} in {rows}")
        blocks.append(Gallery([data.create_card(int(position), False) for position in surest], title))
    else:
        blocks.append(Paragraph(asked.title(f"{data.shown[0]} makes no mistake in {rows}.")))
    if len(least):
        title = asked.title(f"Least sure right answers: {len(least)} of {len(rights):,}")
        blocks.append(Gallery([data.create_card(int(position), True) for position in least], title))
    return blocks
