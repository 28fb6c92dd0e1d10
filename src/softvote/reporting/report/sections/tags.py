"""How good each tag is, and by which threshold it is named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from softvote.metrics.average_precision import AveragePrecision
from softvote.metrics.counts import hits
from softvote.metrics.evaluation import bootstrap_weights, error_of_resamples, score_of_mean
from softvote.metrics.f_beta import F1, FMeasure
from softvote.metrics.scores import Difference, Score
from softvote.reporting.report.blocks import Block, Cell, Chart, DataTable, Paragraph, percent_cell
from softvote.reporting.report.charts import draw_scores
from softvote.reporting.report.section import ReportData, needs_members, needs_tags, section
from softvote.words import counted

_MOST_TAGS = 150  # those with most mistakes, of a table that people read
_MOST_DRAWN = 30
_MOST_RANKED = 1200  # tags times voters of the table of voters
_PICTURES = 12


@section(
    "tags",
    "Tags",
    "How good is each tag, by which threshold is it named, and where is it wrong?",
    needs_members,
    needs_tags,
    rank=35,
)
def build_tags(data: ReportData) -> Sequence[Block]:
    """Build the table of tags, a chart of the weakest, and what each voter ranks best."""
    judged = _judge(data)
    measure = f"F{judged.measure.weight_of_recall:g}"
    order = np.argsort(judged.values, kind="stable")
    shown = _choose(judged, order)
    weakest = {
        data.classes[tag]: (100 * judged.values[tag], 100 * judged.errors[tag]) for tag in shown[:_MOST_DRAWN]
    }
    title = (
        f"{measure} of each tag" if len(weakest) == len(data.classes) else f"{measure} of the weakest tags"
    )
    blocks: list[Block] = [
        _list_tags(data, judged, shown, measure),
        Paragraph(_how_to_read(data), "note"),
        draw_scores(f"{title}, with one standard error", weakest, f"{measure}, %", marked=0),
    ]
    return [*blocks, *_rank_voters(data, shown)]


@dataclass(frozen=True, eq=False)
class _Judged:
    """Every tag of the shown voter.

    Attributes:
        values: float64 (K,), the F-score of each tag by what is named.
        errors: float64 (K,), its standard error.
        precision: the same two of average precision; nan where a tag is on all rows or none.
    """

    measure: FMeasure
    values: NDArray[np.float64]
    errors: NDArray[np.float64]
    precision: tuple[NDArray[np.float64], NDArray[np.float64]]
    there: NDArray[np.bool_]
    named: NDArray[np.bool_]


def _judge(data: ReportData) -> _Judged:
    space, groups = data.scorer.space, data.row_scorer.groups
    metric = data.scorer.metric
    measure = metric if isinstance(metric, FMeasure) else F1(name="f1")
    ranking = AveragePrecision(name="average_precision")
    counts = hits(data.answers, data.labels, len(space.names))
    draws = list(bootstrap_weights(len(data.labels), groups, 1 + len(space.names) // 8))
    measured = np.concatenate([measure.of_labels(np.asarray(drawn @ counts, np.float64)) for drawn in draws])
    ranked = np.concatenate(
        [ranking.resample_columns(data.oof, data.labels, space, drawn) for drawn in draws], axis=1
    )
    whole = np.asarray(counts.sum(axis=0), np.float64)[None]
    return _Judged(
        measure,
        measure.of_labels(whole)[0],
        np.array([error_of_resamples(column) for column in measured.T]),
        (_average_precision(data.oof, data.labels), np.array([error_of_resamples(row) for row in ranked])),
        data.labels > 0,
        data.answers > 0,
    )


def _average_precision(oof: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    ranking = AveragePrecision(name="average_precision")
    truth: NDArray[np.bool_] = np.asarray(labels > 0)
    counts = truth.sum(axis=0)
    defined = (counts > 0) & (counts < len(truth))
    found = [
        ranking.of_column(oof[:, tag], truth[:, tag], None) if defined[tag] else np.nan
        for tag in range(truth.shape[1])
    ]
    return np.array(found)


def _choose(judged: _Judged, order: NDArray[np.intp]) -> list[int]:
    """The weakest first; of very many tags those with most mistakes."""
    mistakes = (judged.there != judged.named).sum(axis=0)
    most = set(np.argsort(-mistakes, kind="stable")[:_MOST_TAGS].tolist())
    return [tag for tag in order.tolist() if tag in most]


def _list_tags(data: ReportData, judged: _Judged, shown: list[int], measure: str) -> DataTable:
    rows = [_describe(data, judged, tag) for tag in shown]
    header = ["tag", "rows", "threshold", measure, "average precision", "precision", "recall"]
    header += ["missed", "wrongly named", "too probable"]
    of = (
        f"{len(shown)} of {len(data.classes):,} tags with most mistakes"
        if len(shown) < len(data.classes)
        else ""
    )
    caption = f"Tags by {data.shown[0]} on {counted(len(data.labels), 'out-of-fold row')}, the weakest first"
    return DataTable(header, rows, f"{caption}; {of}" if of else caption)


def _describe(data: ReportData, judged: _Judged, tag: int) -> list[Cell | str]:
    there, named, oof = judged.there[:, tag], judged.named[:, tag], data.oof[:, tag]
    right = int((there & named).sum())
    missed, wrongly = np.flatnonzero(there & ~named), np.flatnonzero(named & ~there)
    average, error = (float(each[tag]) for each in judged.precision)
    f_score = Score(float(judged.values[tag]), float(judged.errors[tag]), len(there))
    shares = [percent_cell(right / count, 1) if count else "–" for count in (named.sum(), there.sum())]
    gap = score_of_mean(oof.astype(np.float64) - there, data.row_scorer.groups)
    too_probable = Difference(gap.value, gap.standard_error, gap.rows)
    return [
        data.classes[tag],
        Cell(f"{there.sum():,}", int(there.sum())),
        _describe_threshold(data, tag),
        Cell(str(f_score), f_score.value),
        "–" if np.isnan(average) else Cell(str(Score(average, error, len(there))), average),
        *shares,
        _count(data, missed[np.argsort(oof[missed], kind="stable")]),
        _count(data, wrongly[np.argsort(-oof[wrongly], kind="stable")]),
        Cell(str(too_probable), gap.value, "" if too_probable.verdict == "noise" else "bad"),
    ]


def _count(data: ReportData, positions: NDArray[np.intp]) -> Cell:
    keys = data.store_pictures(positions[:_PICTURES].tolist())
    return Cell(f"{len(positions):,}", len(positions), pictures=keys)


def _describe_threshold(data: ReportData, tag: int) -> Cell:
    """What the tag is submitted by, and the range of what is fitted without each fold."""
    decision, space = data.decision_of(data.shown[0]), data.scorer.space
    found = decision.decision.thresholds(space, decision.fitted)
    value = float(found[tag]) if len(found) else 0.5
    by_fold = [fitted[tag] for fitted in data.fitted_by_fold.values()]
    text = f"{value:.3f} ({min(by_fold):.2f}–{max(by_fold):.2f})" if by_fold else f"{value:g}"
    return Cell(text, value)


def _how_to_read(data: ReportData) -> str:
    note = (
        "± is one standard error. Missed and wrongly named: a click shows the surest. Too probable: the mean "
        "probability less the share of rows that have the tag, in points; red where that is more than noise."
    )
    if data.fitted_by_fold:
        note += (
            " Thresholds are those that are submitted; scores and counts are of thresholds that were fitted "
            "without the row's fold, whose range stands in brackets: a wide one is noise."
        )
    elif data.scorer.decision.makes != "labels":
        note += " What is submitted are probabilities; tags are named here from one half on."
    return note


def _rank_voters(data: ReportData, shown: list[int]) -> list[Block | Chart]:
    """The average precision of each tag by each voter: which member knows which tag."""
    voters = data.voters
    tags = shown[: _MOST_RANKED // max(1, len(voters))]
    if len(voters) < 2 or not tags:
        return []
    columns = {name: _average_precision(oof[:, tags], data.labels[:, tags]) for name, oof in voters.items()}
    rows: list[list[Cell | str]] = []
    for place, tag in enumerate(tags):
        values = [float(column[place]) for column in columns.values()]
        low, high = min(values), max(values)
        cells: list[Cell | str] = [
            "–"
            if np.isnan(value)
            else replace(percent_cell(value, 1), heat=(value - low) / ((high - low) or 1))
            for value in values
        ]
        rows.append([data.classes[tag], *cells])
    caption = "Average precision of each tag by voter; the fuller a cell, the better in its row"
    return [DataTable(["tag", *columns], rows, caption, folded=len(tags) > _MOST_DRAWN)]
