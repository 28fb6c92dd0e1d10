"""Which tags are taken for which, and which go together more or less often than they should."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from softvote.reporting.report.blocks import Block, Cell, DataTable, Paragraph
from softvote.reporting.report.section import (
    LeftOutError,
    ReportData,
    needs_members,
    needs_tags,
    section,
)

_MOST_TAGS = 40  # of a matrix that fits a screen
_MOST_PAIRS = 60
_PICTURES = 12
_BY_CHANCE = 0.05  # how probable it is that any of all pairs is listed where tags know nothing of each other


@section(
    "tag_pairs",
    "Tags taken for others",
    "Which tag is named where another is missed, and which go together in answers but not in labels?",
    needs_members,
    needs_tags,
    rank=40,
)
def build_tag_pairs(data: ReportData) -> Sequence[Block]:
    """Build the pairs of tags that are mistaken for each other, and those named together too often."""
    if len(data.classes) < 2:
        raise LeftOutError("it is for two tags or more, and there is one")
    there, named = data.labels > 0, data.answers > 0
    missed, wrongly = there & ~named, named & ~there
    taken = _count_pairs(missed, wrongly)
    blocks: list[Block] = []
    if not taken.any():
        blocks.append(Paragraph("On no image is one tag missed and another wrongly named."))
    else:
        if len(data.classes) <= _MOST_TAGS:
            blocks.append(_draw_matrix(data, taken, missed, wrongly))
        blocks.append(_list_taken(data, taken, missed, wrongly))
    together = _list_together(data, there, named)
    blocks += together or [
        Paragraph("No two tags go together more or less often than labels say, but for noise.")
    ]
    return blocks


def _count_pairs(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How many rows have tag i of one and tag j of the other, int64 (K, K)."""
    from scipy.sparse import csr_array

    first, second = (csr_array(each.astype(np.int32)) for each in (one, other))
    return np.asarray((first.T @ second).todense(), np.int64)


def _draw_matrix(
    data: ReportData, taken: NDArray[np.int64], missed: NDArray[np.bool_], wrongly: NDArray[np.bool_]
) -> DataTable:
    most = max(1, int(taken.max()))
    rows: list[list[Cell | str]] = []
    for one, name in enumerate(data.classes):
        row: list[Cell | str] = [name]
        for other in range(len(data.classes)):
            count = int(taken[one, other])
            keys = _store(data, missed[:, one] & wrongly[:, other], other) if count else []
            row.append(Cell(f"{count:,}", count, "", 0.15 + 0.85 * count / most, keys) if count else "")
        rows.append(row)
    caption = f"Images on which {data.shown[0]} missed one tag and wrongly named another"
    return DataTable(["missed ↓ named →", *data.classes], rows, caption, matrix=True)


def _store(data: ReportData, rows: NDArray[np.bool_], named: int) -> list[str]:
    """Keys of pictures of a pair, those first on which the wrong tag was named most surely."""
    positions = np.flatnonzero(rows)
    order = np.argsort(-data.oof[positions, named], kind="stable")[:_PICTURES]
    return data.store_pictures(positions[order].tolist())


def _list_taken(
    data: ReportData, taken: NDArray[np.int64], missed: NDArray[np.bool_], wrongly: NDArray[np.bool_]
) -> DataTable:
    """Pairs that meet on more images than they would if mistakes knew nothing of each other."""
    from scipy.stats import poisson

    chance = np.outer(missed.sum(axis=0), wrongly.sum(axis=0)) / len(missed)
    is_more = poisson.sf(taken - 1, chance) < _BY_CHANCE / (taken.size - len(taken))  # Bonferroni
    pairs = np.argwhere(is_more & (taken > 1))
    order = np.argsort(-(taken - chance)[tuple(pairs.T)], kind="stable")[:_MOST_PAIRS]
    rows: list[list[Cell | str]] = []
    for one, other in pairs[order].tolist():
        count = int(taken[one, other])
        keys = _store(data, missed[:, one] & wrongly[:, other], other)
        cells: list[Cell | str] = [data.classes[one], data.classes[other]]
        cells += [Cell(f"{count:,}", count, pictures=keys)]
        rows.append([*cells, Cell(f"{chance[one, other]:.1f}", float(chance[one, other]))])
    caption = (
        "Taken for another more often than by chance (Poisson, 5 % for all pairs together)"
        if rows
        else "No tag is taken for another more often than by chance"
    )
    return DataTable(["missed", "named instead", "images", "by chance"], rows, caption)


def _list_together(data: ReportData, there: NDArray[np.bool_], named: NDArray[np.bool_]) -> list[Block]:
    """Pairs that answers have together on more or fewer images than labels, however often each is named."""
    from scipy.stats import norm

    in_labels, in_answers = _count_pairs(there, there), _count_pairs(named, named)
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = np.nan_to_num(named.sum(axis=0) / there.sum(axis=0), posinf=0.0)
    expected = in_labels * np.outer(rate, rate)
    gap = in_answers - expected
    errors = norm.isf(_BY_CHANCE / (gap.size - len(gap)))  # of both sides of half as many pairs; Bonferroni
    noise = errors * np.sqrt(np.maximum(1, np.maximum(expected, in_answers)))
    pairs = np.argwhere(np.triu(np.abs(gap) > noise, 1))
    order = np.argsort(-np.abs(gap)[tuple(pairs.T)], kind="stable")[:_MOST_PAIRS]
    rows: list[list[Cell | str]] = []
    for one, other in pairs[order].tolist():
        differs = (named[:, one] & named[:, other]) != (there[:, one] & there[:, other])
        keys = data.store_pictures(np.flatnonzero(differs)[:_PICTURES].tolist())
        said, true, wanted = int(in_answers[one, other]), int(in_labels[one, other]), expected[one, other]
        cells: list[Cell | str] = [data.classes[one], data.classes[other]]
        cells += [Cell(f"{said:,}", said, pictures=keys), Cell(f"{true:,}", true)]
        cells += [Cell(f"{wanted:,.1f}", float(wanted)), "too often" if said > wanted else "too rarely"]
        rows.append(cells)
    if not rows:
        return []
    header = ["tag", "and tag", "in answers", "in labels", "expected", "together"]
    note = (
        "Images that have both tags. Expected: as often as in labels, times how much more or less often "
        "either is named than it is there; what chance could do to one of so many pairs (Poisson, 5 % for "
        "all of them together) is left out. Tags that exclude each other and are named together want a rule "
        "of their own."
    )
    return [DataTable(header, rows, "Together in answers and in labels"), Paragraph(note, "note")]
