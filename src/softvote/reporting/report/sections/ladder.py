"""This pipeline beside others of its competition."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from softvote.ensembling.predictions import has_intact_predictions, read_predictions
from softvote.metrics.scores import Difference, Verdict
from softvote.reporting.report.blocks import Block, Cell, DataTable, Paragraph, Tone
from softvote.reporting.report.experiments import OUTDATED, Experiment, describe_changes
from softvote.reporting.report.index import unpaired_gain
from softvote.reporting.report.section import LeftOutError, ReportData, section

_TONES: dict[Verdict, Tone] = {"better": "good", "worse": "bad", "noise": ""}


_MOST_CHANGES = 6


@section(
    "ladder",
    "Ladder of experiments",
    "What did other pipelines of this competition score, and what is different here?",
    rank=90,
)
def build_ladder(data: ReportData) -> Sequence[Block]:
    """Build the table of pipelines, each held against this one."""
    this = next((each for each in data.experiments if each.name == data.name), None)
    others = [each for each in data.experiments if each.name != data.name]
    if not others or this is None:
        raise LeftOutError("no other pipeline of this competition voted or was submitted")
    ordered = sorted([this, *others], key=lambda each: -each.worth)
    rows = [_compare(data, this, each) for each in ordered]
    header = [
        "pipeline",
        data.scorer.metric.title,
        "this one's gain",
        "which is",
        "compared",
        "different here",
    ]
    note = (
        "Gain: this pipeline's score less the other's. Where out-of-fold probabilities of both are here "
        "it is paired, row by row; else it is as if of different rows, which only finds larger gains."
    )
    if any(each.is_outdated for each in others):
        note += f" What is {OUTDATED} was trained or voted otherwise than its file says now: run its stages."
    return [DataTable(header, rows, "The best cross-validation first"), Paragraph(note, "note")]


def _compare(data: ReportData, this: Experiment, other: Experiment) -> list[Cell | str]:
    name = Cell(other.name, href="" if other is this else f"{other.name}.html")
    score = Cell(f"{other.cv}{other.marks}", other.cv.value) if other.cv else ""
    if other is this:
        return [Cell(f"{other.name} (this one)"), score, "", "", "", ""]
    paired = _paired_gain(data, other)
    gain, how = (paired, "paired") if paired else (unpaired_gain(other, this), "as of other rows")
    changes = describe_changes(other.pipeline, data.pipeline)
    more = len(changes) - _MOST_CHANGES
    text = "; ".join([*changes[:_MOST_CHANGES], *([f"and {more} more"] if more > 0 else [])])
    if gain is None:
        return [name, score, "", "", "", text]
    tone = _TONES[gain.verdict]
    return [name, score, Cell(str(gain), gain.value), Cell(gain.verdict, tone=tone), how, text]


def _paired_gain(data: ReportData, other: Experiment) -> Difference | None:
    """This pipeline's score less another's on the rows that both predicted; None where unknown."""
    mine = next((each for each in data.experiments if each.name == data.name), None)
    same_metric = mine is not None and mine.metric == other.metric
    same_rows = mine is not None and mine.rows_fingerprint == other.rows_fingerprint != ""
    if data.vote is None or not (same_rows and same_metric) or not has_intact_predictions(other.folder):
        return None
    theirs = read_predictions(other.folder)
    rows, here, there = np.intersect1d(data.rows, theirs.rows, return_indices=True)
    if not len(rows) or theirs.oof.shape[1] != len(data.classes):
        return None
    scorer, labels = data.row_scorer.for_rows(here), data.labels[here]
    mine_now = scorer.evaluate(data.vote.oof[here], labels)
    return mine_now.minus(scorer.evaluate(theirs.oof[there], labels))
