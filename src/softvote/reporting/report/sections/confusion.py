"""Which classes are taken for which."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix

from softvote.reporting.report.blocks import Block, Cell, DataTable, Paragraph, Tone, percent_cell
from softvote.reporting.report.questions import Question
from softvote.reporting.report.section import ReportData, needs_members, needs_questions, section
from softvote.words import counted

_MOST_CLASSES = 40  # of a matrix that fits a screen
_MOST_PAIRS = 300
_PICTURES_PER_CELL = 12


@section(
    "confusion",
    "Confusion matrix",
    "Which class is taken for which? A click shows the images behind a cell.",
    needs_members,
    needs_questions,
    rank=40,
)
def build_confusion(data: ReportData) -> Sequence[Block]:
    """Build the matrix where there is room for it, the classes and the most frequent confusions."""
    blocks = [block for question in data.questions for block in _build(data, question)]
    if data.pictures.left_out:
        blocks.append(
            Paragraph(f"{counted(data.pictures.left_out, 'picture')} found no room in this file.", "note")
        )
    return blocks


def _build(data: ReportData, asked: Question) -> list[Block]:
    found: NDArray[np.int64] = confusion_matrix(asked.labels, asked.guesses, labels=range(len(asked.classes)))
    pairs = _list_pairs(found)
    keys = {pair: _store(data, asked, pair) for pair in pairs}
    blocks: list[Block] = []
    if len(asked.classes) <= _MOST_CLASSES:
        keys |= {(label, label): _store(data, asked, (label, label)) for label in range(len(asked.classes))}
        blocks.append(_draw_matrix(asked, found, keys, asked.title(f"Answers of {data.shown[0]}")))
    return [*blocks, _list_classes(asked, found), _list_confusions(asked, found, pairs, keys)]


def _list_pairs(found: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Label and wrong answer of each confusion, the most frequent first."""
    off = found - np.diag(np.diag(found))
    labels, answers = np.nonzero(off)
    order = np.argsort(-off[labels, answers], kind="stable")[:_MOST_PAIRS]
    return list(zip(labels[order].tolist(), answers[order].tolist(), strict=True))


def _store(data: ReportData, asked: Question, pair: tuple[int, int]) -> list[str]:
    """Keys of pictures of a cell: the surest mistakes, or the least sure right answers."""
    positions = np.flatnonzero((asked.labels == pair[0]) & (asked.guesses == pair[1]))
    sureness = asked.confidence[positions]
    order = np.argsort(sureness if pair[0] == pair[1] else -sureness, kind="stable")[:_PICTURES_PER_CELL]
    return data.store_pictures(positions[order].tolist())


def _draw_matrix(
    asked: Question, found: NDArray[np.int64], keys: dict[tuple[int, int], list[str]], caption: str
) -> DataTable:
    most = max(1, int((found - np.diag(np.diag(found))).max()))
    rows: list[list[Cell | str]] = []
    for label, name in enumerate(asked.classes):
        row: list[Cell | str] = [name]
        for answer in range(len(asked.classes)):
            count = int(found[label, answer])
            heat = None if label == answer or not count else 0.15 + 0.85 * count / most
            tone: Tone = "good" if label == answer and count else ""
            pictures = keys.get((label, answer), ())
            row.append(Cell(f"{count:,}", count, tone, heat, pictures) if count else "")
        rows.append(row)
    return DataTable(["label ↓ answer →", *asked.classes], rows, caption, matrix=True)


def _list_classes(asked: Question, found: NDArray[np.int64]) -> DataTable:
    from sklearn.metrics import precision_recall_fscore_support

    precision, recall, f1, support = precision_recall_fscore_support(
        asked.labels, asked.guesses, labels=range(len(asked.classes)), zero_division=0.0
    )
    rows: list[list[Cell | str]] = [
        [
            name,
            Cell(f"{support[k]:,}", float(support[k])),
            *(percent_cell(each[k]) for each in (recall, precision, f1)),
        ]
        for k, name in enumerate(asked.classes)
        if support[k] or found[:, k].any()
    ]
    return DataTable(["class", "rows", "recall", "precision", "F1"], rows, asked.title("Classes"))


def _list_confusions(
    asked: Question,
    found: NDArray[np.int64],
    pairs: list[tuple[int, int]],
    keys: dict[tuple[int, int], list[str]],
) -> DataTable:
    rows: list[list[Cell | str]] = []
    for label, answer in pairs:
        count, of_label = int(found[label, answer]), int(found[label].sum())
        rows.append(
            [
                asked.classes[label],
                asked.classes[answer],
                Cell(f"{count:,}", count, pictures=keys[label, answer]),
                percent_cell(count / of_label),
            ]
        )
    caption = asked.title("Confusions, the most frequent first")
    return DataTable(["label", "answer", "rows", "of the label's rows"], rows, caption)
