"""Scores of members, rules and folds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from softvote.metrics import scores
from softvote.metrics.scores import Difference, Score, Verdict
from softvote.reporting.comparison import name_voter, rows_to_show
from softvote.reporting.report.blocks import Block, Cell, DataTable, Paragraph, Tone
from softvote.reporting.report.charts import draw_scores
from softvote.reporting.report.section import ReportData, needs_members, section
from softvote.reporting.tables import mark_transductive
from softvote.words import counted


@section(
    "scores",
    "Scores",
    "How good is every voter, and is the difference more than noise?",
    needs_members,
    rank=10,
)
def build_scores(data: ReportData) -> Sequence[Block]:
    """Build the table of members and rules, a chart of it, and the scores by fold."""
    rows = rows_to_show(data.comparison.rows)
    note = "± is one standard error."
    if len(rows) > 1:
        note += " Differences are to the vote by the mean and to the best member, paired; at most two of "
        note += "their standard errors are noise. "
        note += "Weights that a rule fits are scored on folds they were not fitted on."
    metric = data.scorer.metric
    decision = data.scorer.decision
    if decision.needs_fit:
        note += (
            f" Members and rules are compared as decided by {decision.unfitted.describe(data.scorer.space)}. "
            f"As submitted: with {decision.name.replace('_', ' ')} where they are better, scored on other "
            "folds than they were fitted on."
        )
    transductive = data.transductive
    dots = {name_voter(row, transductive): row.score for row in rows if row.score}
    sign, factor = (-1 if metric.greater_is_better else 1), (100 if metric.percent else 1)
    ordered = sorted(dots.items(), key=lambda item: sign * item[1].value)
    chart = draw_scores(
        f"{metric.title} with one standard error",
        {name: (factor * score.value, factor * score.standard_error) for name, score in ordered},
        f"{metric.title}, %" if metric.percent else metric.title,
    )
    return [_list_voters(data), Paragraph(note, "note"), chart, _list_folds(data)]


def _list_voters(data: ReportData) -> DataTable:
    """A row per member and rule, with the columns that say something of this metric and task."""
    chosen = data.vote_record.rule if data.vote_record else ""
    metric = data.scorer.metric
    is_decided = data.scorer.decision.needs_fit and any(record.decision for record in data.scores.values())
    header = ["voter", metric.title]
    header += ["as submitted"] if is_decided else []
    header += [] if metric.name == "log_loss" else ["log loss"]
    header += ["squared error"] if data.task.is_of_sums else []
    shown, rows = rows_to_show(data.comparison.rows), []
    header += ["to the mean", "to the best"] if len(shown) > 1 else []
    for row in shown:
        is_chosen = row.kind == "rule" and row.name == chosen
        name = name_voter(row, data.transductive) + (" (votes)" if is_chosen else "")
        cells: list[Cell | str] = [name, _score(row.score)]
        if is_decided:
            voter = row.name if row.kind == "member" else data.pipeline.ensemble.name if is_chosen else ""
            record = data.scores.get(voter)
            cells.append(_score(record.headline if record else None))
        if metric.name != "log_loss":
            cells.append(_score(row.log_loss))
        if data.task.is_of_sums:
            oof = data.members[row.name].oof if row.kind == "member" else data.comparison.votes[row.name]
            cells.append(_score(None if oof is None else scores.squared_error(oof, data.labels)))
        cells += [_difference(row.to_mean) or row.words, _difference(row.to_best)]
        rows.append(cells[: len(header)])
    several = "Members and rules on {}; = is a vote of all members"
    caption = several if len(shown) > 1 else "One member, and no vote, on {}"
    return DataTable(header, rows, caption.format(counted(len(data.rows), "out-of-fold row")))


def _score(score: Score | None) -> Cell | str:
    return "" if score is None else Cell(str(score), score.value)


def _difference(difference: Difference | None) -> Cell | str:
    """With its verdict, which is told by colour where it is more than noise."""
    if difference is None:
        return ""
    tones: dict[Verdict, Tone] = {"better": "good", "worse": "bad", "noise": ""}
    return Cell(f"{difference} {difference.verdict}", difference.value, tones[difference.verdict])


def _list_folds(data: ReportData) -> DataTable:
    folds = sorted(set(data.fold_of_row.tolist()))
    voters = {name: each.oof for name, each in data.members.items()}
    if data.vote is not None:
        voters |= {data.pipeline.ensemble.name: data.vote.oof}
    rows: list[list[Cell | str]] = []
    for name, oof in voters.items():
        learned_test = bool(data.transductive) if name not in data.members else name in data.transductive
        cells: list[Cell | str] = [mark_transductive(name, learned_test)]
        for fold in folds:
            own = np.flatnonzero(data.fold_of_row == fold)
            found = data.row_scorer.for_rows(own).evaluate(oof[own], data.labels[own])
            cells.append(_score(found.score))
        rows.append(cells)
    header = ["voter", *(f"fold {fold}" for fold in folds)]
    return DataTable(header, rows, f"{data.scorer.metric.title} by fold")
