"""How good each of several targets is, and whether they fail together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from softvote.metrics import METRICS, as_metric
from softvote.metrics.scores import Score
from softvote.reporting.report.blocks import Block, Cell, DataTable, Paragraph, percent_cell
from softvote.reporting.report.questions import Question, list_questions
from softvote.reporting.report.section import ReportData, needs_members, section
from softvote.task import LabelSpace, Task
from softvote.words import counted

_PICTURES = 12
_SCORED_BY = ("accuracy", "macro_recall", "log_loss")


def needs_targets(data: ReportData) -> str:
    """For sections about several questions per image."""
    return "" if data.task.kind == "targets" else "it is for several targets per image"


@section(
    "targets",
    "Targets",
    "How good is each target, by which voter and in which fold, and do they fail together?",
    needs_members,
    needs_targets,
    rank=35,
)
def build_targets(data: ReportData) -> Sequence[Block]:
    """Build the tables of targets, by voter and by fold, and of targets that are wrong on the same images."""
    note = (
        "± is one standard error. Every target is scored by itself here; what the competition counts stands "
        "under Scores. Confusions, mistakes and reliability of each target follow below."
    )
    return [
        _list_targets(data),
        Paragraph(note, "note"),
        _list_voters(data),
        _list_folds(data),
        _list_wrong_counts(data),
        *_list_failing_together(data),
    ]


def _score(question: Question, metric: str, data: ReportData, rows: Sequence[int] | None = None) -> Score:
    """A question scored by itself, on all rows or some of them."""
    chosen = np.arange(len(question.labels)) if rows is None else np.asarray(rows)
    space = LabelSpace(Task(len(question.classes)), tuple(question.classes))
    scored = as_metric(METRICS[metric](name=metric))
    given = question.probabilities if metric == "log_loss" else question.guesses
    groups = data.row_scorer.for_rows(chosen).groups
    return scored.evaluate(given[chosen], question.labels[chosen], space, groups).score


def _list_targets(data: ReportData) -> DataTable:
    rows: list[list[Cell | str]] = []
    for question in data.questions:
        wrong = np.flatnonzero(~question.right)
        surest = wrong[np.argsort(-question.confidence[wrong], kind="stable")][:_PICTURES]
        keys = data.store_pictures(surest.tolist())
        scores = [_score(question, metric, data) for metric in _SCORED_BY]
        rows.append(
            [
                question.name,
                Cell(str(len(question.classes)), len(question.classes)),
                *(Cell(str(score), score.value) for score in scores),
                Cell(f"{len(wrong):,}", len(wrong), pictures=keys),
            ]
        )
    header = ["target", "labels", *(METRICS[name](name=name).title for name in _SCORED_BY), "mistakes"]
    caption = f"Targets by {data.shown[0]} on {counted(len(data.rows), 'out-of-fold row')}"
    return DataTable(header, rows, caption)


def _list_voters(data: ReportData) -> DataTable:
    rows: list[list[Cell | str]] = []
    for name, oof in data.voters.items():
        asked = list_questions(data.scorer.space, oof, data.name_answers(name), data.labels)
        scores = [_score(question, "accuracy", data) for question in asked]
        rows.append([name, *(Cell(str(score), score.value) for score in scores)])
    return DataTable(
        ["voter", *(each.name for each in data.questions)], rows, "Accuracy of each target by voter"
    )


def _list_folds(data: ReportData) -> DataTable:
    folds = sorted(set(data.fold_of_row.tolist()))
    rows: list[list[Cell | str]] = []
    for question in data.questions:
        own = [np.flatnonzero(data.fold_of_row == fold).tolist() for fold in folds]
        scores = [_score(question, "accuracy", data, chosen) for chosen in own]
        rows.append([question.name, *(Cell(str(score), score.value) for score in scores)])
    header = ["target", *(f"fold {fold}" for fold in folds)]
    return DataTable(header, rows, f"Accuracy of each target by fold, by {data.shown[0]}")


def _list_wrong_counts(data: ReportData) -> DataTable:
    """How many images have how many targets wrong."""
    each_wrong = data.answers != data.labels
    sure = np.stack([question.confidence for question in data.questions], axis=1)
    sure, wrong = np.where(each_wrong, sure, 0).max(axis=1), each_wrong.sum(axis=1)
    rows: list[list[Cell | str]] = []
    for count in range(data.labels.shape[1] + 1):
        positions = np.flatnonzero(wrong == count)
        first = positions[np.argsort(-sure[positions], kind="stable")][:_PICTURES]
        keys = data.store_pictures(first.tolist()) if count else []
        share = len(positions) / len(wrong)
        cells = [Cell(f"{len(positions):,}", len(positions), pictures=keys), percent_cell(share)]
        rows.append([str(count), *cells])
    return DataTable(["targets wrong", "images", "share"], rows, "Targets that are wrong of an image")


def _list_failing_together(data: ReportData) -> list[Block]:
    """Pairs of targets that are wrong on the same images, against chance."""
    wrong = data.answers != data.labels
    rows: list[list[Cell | str]] = []
    for one in range(wrong.shape[1]):
        for other in range(one + 1, wrong.shape[1]):
            both = wrong[:, one] & wrong[:, other]
            chance = wrong[:, one].mean() * wrong[:, other].sum()
            keys = data.store_pictures(np.flatnonzero(both)[:_PICTURES].tolist())
            names = [data.questions[place].name for place in (one, other)]
            count = int(both.sum())
            rows.append(
                [*names, Cell(f"{count:,}", count, pictures=keys), Cell(f"{chance:.1f}", float(chance))]
            )
    if not rows:
        return []
    header = ["target", "and target", "both wrong", "by chance"]
    note = "Far above chance, some images are hard for every target, or damaged: look at them."
    return [DataTable(header, rows, "Wrong on the same images"), Paragraph(note, "note")]
