"""Images that are nearly the same, in training and test rows alike."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from softvote.data.duplicates import near_identical_groups
from softvote.data.pixels import JoinedPixels, bytes_of
from softvote.reporting.report.blocks import Block, Cell, DataTable, Paragraph
from softvote.reporting.report.section import LeftOutError, ReportData, section
from softvote.words import counted

_MOST_SHOWN = 100
_MOST_BYTES = 2_000_000_000  # of images, which are held in memory at once
_PICTURES_PER_GROUP = 8


@section(
    "duplicates",
    "Near-identical images",
    "Does the same image stand in two folds, or in training and test rows?",
    rank=110,
)
def build_duplicates(data: ReportData) -> Sequence[Block]:
    """Build the counts of near-identical images, and the groups of them."""
    train, test = data.dataset.train_pixels, data.dataset.test_pixels
    size = bytes_of(train) + bytes_of(test)
    if size > _MOST_BYTES:
        raise LeftOutError(f"{size / 1e9:.1f} GB of images are more than it compares")
    distance = data.pipeline.folds.near_identical
    groups = _list_groups(near_identical_groups(JoinedPixels([train, test]), distance))
    in_train = [group[group < len(train)] for group in groups]
    across = [rows for rows in in_train if len(np.unique(data.folds[rows])) > 1]
    both = [(rows, group) for rows, group in zip(in_train, groups, strict=True) if 0 < len(rows) < len(group)]
    differ = [rows for rows in in_train if len(np.unique(data.dataset.train_labels[rows], axis=0)) > 1]
    twins = sum(len(group) - len(rows) for rows, group in both)
    counts = [
        ("groups of near-identical images", len(groups)),
        ("of them in more than one fold", len(across)),
        ("of them with different labels", len(differ)),
        ("of them in training and test rows", len(both)),
        ("test images with a twin among the training images", twins),
    ]
    shown = f"that differ by at most {distance:g} grey levels (root mean square)" if distance else "twice"
    rows: list[list[Cell | str]] = [[what, Cell(f"{count:,}", count)] for what, count in counts]
    blocks: list[Block] = [DataTable(["what", "count"], rows, f"Images {shown}")]
    if across:
        blocks.append(Paragraph("Twins in two folds make cross-validation too good.", "warning"))
    if twins:
        blocks.append(Paragraph("A twin gives a test image's label away; new images have none.", "note"))
    if groups:
        blocks.append(_list_worst(data, groups))
    return blocks


def _list_groups(numbers: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The positions of each group of two images or more."""
    order = np.argsort(numbers, kind="stable")
    ends = np.flatnonzero(np.diff(numbers[order])) + 1
    return [group for group in np.split(order, ends) if len(group) > 1]


def _list_worst(data: ReportData, groups: list[NDArray[np.int64]]) -> DataTable:
    """A row per group, those first that do harm."""
    n, rows = len(data.dataset.train_pixels), []
    for group in groups:
        train = group[group < n]
        labels = _labels_of(data, train)
        folds = sorted(set(data.folds[train].tolist()))
        words = [
            *(["different labels"] if len(labels) > 1 else []),
            *(["several folds"] if len(folds) > 1 else []),
            *(["training and test"] if 0 < len(train) < len(group) else []),
        ]
        rows.append((len(words), len(group), group, labels, folds, words))
    rows.sort(key=lambda row: (-row[0], -row[1]))
    cells: list[list[Cell | str]] = []
    for _, size, group, labels, folds, words in rows[:_MOST_SHOWN]:
        names = [f"train {i}" if i < n else f"test {i - n}" for i in group[:6].tolist()]
        cells.append(
            [
                Cell(str(size), size, pictures=_store(data, group, n)),
                ", ".join(names) + (", …" if size > len(names) else ""),
                "; ".join(f"{label}: {count}" for label, count in labels.items()),
                ", ".join(map(str, folds)),
                Cell(", ".join(words), tone="bad" if len(labels) > 1 or len(folds) > 1 else ""),
            ]
        )
    caption = f"{len(cells)} of {counted(len(groups), 'group')}; a click on the size shows the images"
    return DataTable(["images", "rows", "labels", "folds", "note"], cells, caption)


def _labels_of(data: ReportData, train: NDArray[np.int64]) -> dict[str, int]:
    """How often each label stands at these training rows."""
    counts: dict[str, int] = defaultdict(int)
    for label in data.dataset.train_labels[train]:
        name = data.classes[label] if data.task.is_single_label else " ".join(map(str, label))
        counts[name] += 1
    return counts


def _store(data: ReportData, group: NDArray[np.int64], n: int) -> list[str]:
    keys = []
    for i in group[:_PICTURES_PER_GROUP].tolist():
        pixels = data.dataset.train_pixels[i] if i < n else data.dataset.test_pixels[i - n]
        caption = f"training row {i}" if i < n else f"test row {i - n}"
        keys.append(data.pictures.add(f"g{i}", pixels, caption))
    return [key for key in keys if key is not None]
