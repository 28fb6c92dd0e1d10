"""What each member cost."""

from __future__ import annotations

from collections.abc import Sequence

from softvote.inference.record import TrainingRecord
from softvote.reporting.report.blocks import Block, Cell, DataTable, Paragraph
from softvote.reporting.report.charts import draw_points
from softvote.reporting.report.section import LeftOutError, ReportData, needs_members, section
from softvote.scheduling.estimate import format_duration


@section("cost", "Cost", "Which member is worth its time?", needs_members, rank=80)
def build_cost(data: ReportData) -> Sequence[Block]:
    """Build time, memory and speed of each member, and time against accuracy."""
    rows: list[list[Cell | str]] = []
    points = {}
    for name, folders in data.trainings.items():
        records = [record for folder in folders if (record := TrainingRecord.read(folder.recipe))]
        if not records:
            continue
        seconds = sum(record.seconds for record in records)
        images = sum(record.images_per_epoch * int(record.member.get("epochs", 0)) for record in records)
        memory = max(record.peak_memory_mib for record in records)
        ran = sorted({f"{record.execution.device} {record.execution.precision}" for record in records})
        rows.append(
            [
                name,
                data.pipeline.members[name].model,
                Cell(str(len(records)), len(records)),
                Cell(format_duration(seconds), seconds),
                Cell(format_duration(seconds / len(records)), seconds / len(records)),
                Cell(f"{images / seconds:,.0f}", images / seconds) if seconds and images else "",
                Cell(f"{memory:,}", memory) if memory else "",
                ", ".join(dict.fromkeys(record.device for record in records if record.device)) or "CPU",
                ", ".join(ran),
            ]
        )
        if seconds:
            score = data.row_scorer.evaluate(data.members[name].oof, data.labels).score
            points[name] = (seconds / 60, score.value * (100 if score.percent else 1))
    if not rows:
        raise LeftOutError("no training left a record")
    header = ["member", "network", "trainings", "time", "per training"]
    header += ["images/s", "memory, MiB", "device", "ran as"]
    blocks: list[Block] = [DataTable(header, rows, "Trainings of each member")]
    note = "Time on the clock, of trainings that may have run beside others. Memory is the process's at its "
    blocks.append(Paragraph(f"{note}peak, not the accelerator's.", "note"))
    if len(points) > 1:
        title = data.scorer.metric.title
        axes = ("minutes of training", f"{title}, %" if data.scorer.metric.percent else title)
        blocks.append(draw_points(f"Time and {title}", points, axes))
    return blocks
