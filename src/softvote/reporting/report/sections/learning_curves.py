"""How each member learned."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from softvote.reporting.report.blocks import Block, Cell, Chart, DataTable, Paragraph
from softvote.reporting.report.charts import draw_lines
from softvote.reporting.report.section import LeftOutError, ReportData, needs_members, section

_Column = dict[str, list[float]]


@section(
    "curves",
    "Learning curves",
    "Did they learn to the end, and did they learn too long?",
    needs_members,
    rank=70,
)
def build_learning_curves(data: ReportData) -> Sequence[Block]:
    """Build loss and accuracy per epoch from the logs, means over the trainings of a member."""
    logs = {name: _mean_log([folder.log for folder in folders]) for name, folders in data.trainings.items()}
    logs = {name: log for name, log in logs.items() if log}
    if not logs:
        raise LeftOutError("no training left a log")
    held_out = {name: log["validation_loss"] for name, log in logs.items() if "validation_loss" in log}
    held_right = {
        name: log["validation_accuracy"] for name, log in logs.items() if "validation_accuracy" in log
    }
    loss = {name: log["loss"] for name, log in logs.items()}
    wrong = {name: _percent_wrong(log["accuracy"]) for name, log in logs.items()}
    held_wrong = {name: _percent_wrong(values) for name, values in held_right.items()}
    blocks: list[Block] = [
        _draw("Loss per epoch", "loss", loss, held_out),
        _draw("Wrong answers per epoch", "wrong, %", wrong, held_wrong),
    ]
    note = "Means over a member's trainings. Training rows count as the network saw them: augmented, mixed."
    if held_out:
        note += " Dashed: rows that were left out, shown for people; the last epoch counts whatever they say."
    else:
        note += " `curves: true` in a recipe adds the rows that were left out."
    return [*blocks, Paragraph(note, "note"), _list_last(logs)]


def _draw(title: str, unit: str, lines: dict[str, list[float]], dashed: dict[str, list[float]]) -> Chart:
    """Lines over epochs, on a logarithmic scale where that can show every value."""
    values = [value for each in (lines, dashed) for line in each.values() for value in line]
    return draw_lines(title, lines, ("epoch", unit), dashed, logarithmic=min(values, default=0) > 0)


def _percent_wrong(accuracy: list[float]) -> list[float]:
    return [100 * (1 - value) for value in accuracy]


def _mean_log(paths: Sequence[Path]) -> _Column:
    """The mean of each column that holds numbers, over the trainings that have so many epochs."""
    logs = [_read_log(path) for path in paths if path.is_file()]
    logs = [log for log in logs if log.get("loss")]
    if not logs:
        return {}
    epochs = max(len(log["loss"]) for log in logs)
    whole = [log for log in logs if len(log["loss"]) == epochs]
    columns = [name for name in whole[0] if all(len(log.get(name, [])) == epochs for log in whole)]
    return {name: np.mean([log[name] for log in whole], axis=0).tolist() for name in columns}


def _read_log(path: Path) -> _Column:
    columns: _Column = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            for name, text in row.items():
                try:
                    columns.setdefault(name, []).append(float(text))
                except (TypeError, ValueError):
                    continue
    return columns


def _list_last(logs: dict[str, _Column]) -> DataTable:
    header = ["member", "epochs", "loss", "right", "loss, left out", "right, left out"]
    rows: list[list[Cell | str]] = []
    for name, log in logs.items():
        row: list[Cell | str] = [name, Cell(str(len(log["loss"])), len(log["loss"]))]
        for column in ("loss", "accuracy", "validation_loss", "validation_accuracy"):
            last = log[column][-1] if column in log else None
            percent = column.endswith("accuracy")
            row.append(
                "" if last is None else Cell(f"{100 * last:.2f} %" if percent else f"{last:.4f}", last)
            )
        rows.append(row)
    if not any("validation_loss" in log for log in logs.values()):
        header, rows = header[:4], [row[:4] for row in rows]
    return DataTable(header, rows, "The last epoch")
