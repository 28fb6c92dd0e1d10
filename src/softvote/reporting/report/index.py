"""The index over all pipelines: the ladder of experiments of each competition."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from softvote.metrics.scores import Difference
from softvote.reporting.report.blocks import Cell, DataTable
from softvote.reporting.report.experiments import OUTDATED, Experiment, describe_changes


def list_competitions(
    experiments: Sequence[Experiment], has_page: Callable[[str], bool]
) -> list[tuple[str, DataTable]]:
    """A table per competition, the best cross-validation first.

    Args:
        has_page: whether there is a page of the pipeline of that name.
    """
    names = sorted({each.competition for each in experiments})
    return [(name, _ladder([e for e in experiments if e.competition == name], has_page)) for name in names]


def _ladder(experiments: Sequence[Experiment], has_page: Callable[[str], bool]) -> DataTable:
    by_name = {each.name: each for each in experiments}
    ordered = sorted(experiments, key=lambda each: -each.worth)
    rows: list[list[Cell | str]] = []
    for each in ordered:
        base = by_name.get(each.extends)
        changes = describe_changes(base.pipeline, each.pipeline) if base else []
        entry = each.entry
        rows.append(
            [
                Cell(each.name, href=f"{each.name}.html" if has_page(each.name) else ""),
                Cell(_score(each), each.cv.value) if each.cv else "",
                Cell(str(each.log_loss), each.log_loss.value) if each.log_loss else "",
                Cell(str(len(each.pipeline.voters)), len(each.pipeline.voters)),
                each.rule,
                base.name if base else "",
                _gain(base, each) if base else "",
                "; ".join(changes[:4]) + ("; …" if len(changes) > 4 else ""),
                entry.time[:10] if entry else "",
            ]
        )
    titles = dict.fromkeys(each.pipeline.competition.metric.title for each in experiments)
    header = ["pipeline", " or ".join(titles), "log loss", "members", "rule"]
    header += ["starts from", "gain", "what changed"]
    caption = "The best cross-validation first. Gain: over the pipeline it starts from, as if of other rows."
    if any(each.is_outdated for each in experiments):
        caption += f" What is {OUTDATED} was trained or voted otherwise than its file says now."
    return _without_empty_columns([*header, "submitted"], rows, caption)


def _without_empty_columns(header: list[str], rows: list[list[Cell | str]], caption: str) -> DataTable:
    said = [column for column in range(len(header)) if any(row[column] for row in rows)]
    return DataTable(
        [header[column] for column in said], [[row[column] for column in said] for row in rows], caption
    )


def _gain(base: Experiment, each: Experiment) -> Cell | str:
    gain = unpaired_gain(base, each)
    return "" if gain is None else Cell(f"{gain} ({gain.verdict})", gain.value)


def unpaired_gain(base: Experiment, each: Experiment) -> Difference | None:
    """How much better one pipeline scores than another, as if they were scored on different rows.

    That overstates the error where they share rows, so that what it calls better is better.
    """
    if base.cv is None or each.cv is None or base.metric != each.metric:
        return None
    error = math.hypot(base.cv.standard_error, each.cv.standard_error)
    metric, gain = each.pipeline.competition.metric, each.cv.value - base.cv.value
    return Difference(gain, error, each.cv.rows, metric.percent, metric.greater_is_better)


def _score(each: Experiment) -> str:
    """The score, marked where something is to be said of it."""
    return f"{each.cv}{each.marks}"
