"""Cross-validation held against the leaderboard."""

from __future__ import annotations

from collections.abc import Sequence

from softvote.reporting.report.blocks import Block, Cell, DataTable, Paragraph, Tone
from softvote.reporting.report.charts import draw_points
from softvote.reporting.report.section import LeftOutError, ReportData, section
from softvote.tracking.comparison import LeaderboardRow


@section(
    "leaderboard",
    "Cross-validation against the leaderboard",
    "Did submissions keep what cross-validation promised?",
    rank=100,
)
def build_leaderboard(data: ReportData) -> Sequence[Block]:
    """Build the table of this competition's submissions, and where both scores agree."""
    board = data.leaderboard
    if board is None or not board.rows:
        raise LeftOutError(
            "the ledger has no submission of this competition: build one with the submit stage"
        )
    rows = [_describe(data, row) for row in board.rows]
    header = ["pipeline", "voter", "CV", "expected", "public", "private", "solution"]
    header += ["leaderboard - expected", "which is", "CV rank", "rank", "status"]
    said = [column for column in range(len(header)) if any(row[column] for row in rows)]
    kept = [[row[column] for column in said] for row in rows]
    names = [header[column] for column in said]
    blocks: list[Block] = [DataTable(names, kept, "Files of the ledger, the best CV first")]
    scored = [(row, row.leaderboard) for row in board.rows if row.leaderboard is not None]
    if scored:
        metric = data.scorer.metric
        by = 100 if metric.percent else 1
        points = {_name(row): (by * row.cv.value, by * score.value) for row, score in scored}
        errors = {
            _name(row): (by * row.cv.standard_error, by * score.standard_error) for row, score in scored
        }
        unit = f"{metric.title}, %" if metric.percent else metric.title
        axes = (f"cross-validation: {unit}", f"test rows: {unit}")
        blocks.append(draw_points("One standard error to each side", points, axes, errors, diagonal=True))
    if board.note:
        blocks.append(Paragraph(f"{board.note[:1].upper()}{board.note[1:]}.", "note"))
    if board.rank_correlation is not None:
        text = f"Rank correlation (Spearman) of both scores: {board.rank_correlation:+.2f}."
        blocks.append(Paragraph(text, "note"))
    return blocks


def _name(row: LeaderboardRow) -> str:
    return f"{row.entry.pipeline} {row.entry.sha256[:4]}"


def _describe(data: ReportData, row: LeaderboardRow) -> list[Cell | str]:
    here = " (this one)" if row.entry.pipeline == data.name else ""
    scores: list[Cell | str] = [
        "" if score is None else Cell(str(score), score.value)
        for score in (row.cv, row.entry.expected, row.public, row.private, row.solution)
    ]
    tone: Tone = "" if row.verdict in (None, "chance") else "bad"
    difference = row.difference
    ranks: list[Cell | str] = [
        "" if rank is None else Cell(str(rank), rank) for rank in (row.cv_rank, row.leaderboard_rank)
    ]
    return [
        " ".join([row.entry.pipeline, *row.entry.settings]) + here,
        row.entry.voter,
        *scores,
        "" if difference is None else Cell(str(difference), difference.value),
        Cell(row.verdict, tone=tone) if row.verdict else "",
        *ranks,
        row.status,
    ]
