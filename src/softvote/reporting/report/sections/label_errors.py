"""Which labels are doubtful."""

from __future__ import annotations

import csv
import io
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from softvote.data.corrections import correction_columns
from softvote.reporting.report.blocks import Attachment, Block, Cell, DataTable, Paragraph
from softvote.reporting.report.images import encode_image
from softvote.reporting.report.questions import Question, list_questions
from softvote.reporting.report.section import LeftOutError, ReportData, needs_members, section
from softvote.words import counted

_MOST_SHOWN = 150
_MOST_COUNTED = 12
_FILE = "corrections.csv"


@dataclass(frozen=True)
class _Doubt:
    """A label that is doubted.

    Attributes:
        position: of its row in `rows`.
        asked: which tag or target it is of; empty where there is one label per image.
    """

    position: int
    asked: str
    label: str
    corrected: str
    label_probability: float
    corrected_probability: float


@section(
    "labels",
    "Likely label errors",
    "Which labels would the voter call wrong, and which would you?",
    needs_members,
    rank=55,
)
def build_label_errors(data: ReportData) -> Sequence[Block]:
    """Build the sheet of doubtful labels, and the file of corrections that a next pipeline can take."""
    asked = [each for each in _list_asked(data) if len(np.unique(each.labels)) > 1]
    if not asked:
        raise LeftOutError("all labels are the same")
    doubts = sorted((doubt for each in asked for doubt in _doubt(each)), key=lambda d: d.label_probability)
    if not doubts:
        return [Paragraph(f"cleanlab doubts none of {counted(data.labels.size, 'label')}.")]
    header = [*correction_columns(data.task.kind), "label_probability", "corrected_probability"]
    lines = [_describe(data, doubt) for doubt in doubts]
    shown = [
        [Cell(line[0], float(line[0]), source=_picture(data, doubt.position)), *map(Cell, line[1:])]
        for line, doubt in zip(lines[:_MOST_SHOWN], doubts, strict=False)
    ]
    caption = f"{len(shown)} of {counted(len(lines), 'doubtful label')} of {data.labels.size:,}, worst first"
    return [
        Paragraph(
            "Found by cleanlab (Northcutt et al. 2021) on out-of-fold probabilities. Many are images that "
            "are hard, not labels that are wrong: look, and tick what you would correct. A next pipeline "
            f"takes the downloaded file as `competition: {{corrections: FILE}}`.{_how_tags_are_read(data)}"
        ),
        Paragraph(
            "Corrections may flatter: where labels become what the voter says, cross-validation rises by "
            "itself, and the labels of test rows stay as they are. Compare on the labels as given.",
            "warning",
        ),
        *_count(doubts, data),
        DataTable(header, shown, caption, selectable=_FILE),
        Attachment(_FILE, _write([header, *lines])),
    ]


def _list_asked(data: ReportData) -> list[Question]:
    """What is asked of an image: its class, each target, or of each tag whether it is there."""
    if data.task.kind != "tags":
        return list_questions(data.scorer.space, data.oof, data.task.name(data.oof), data.labels)
    names, named = data.scorer.space.names, data.task.name(data.oof)
    return [
        Question(tag, "01", data.labels[:, place], named[:, place], _with_absence(data.oof[:, place]))
        for place, tag in enumerate(names)
    ]


def _with_absence(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32 (n, 2): a tag is not there, or it is; as cleanlab takes each tag of several by itself."""
    return np.stack([1 - probabilities, probabilities], axis=1)


def _doubt(asked: Question) -> Iterator[_Doubt]:
    """The doubtful labels of one question, where something else is more probable."""
    for position in _find_suspects(asked).tolist():
        label, row = int(asked.labels[position]), asked.probabilities[position]
        guess = int(row.argmax())  # what is most probable, whatever cut points would submit
        names = asked.classes[label], asked.classes[guess]
        yield _Doubt(position, asked.name, *names, float(row[label]), float(row[guess]))


def _find_suspects(asked: Question) -> NDArray[np.int64]:
    """Positions of doubtful labels, the most doubtful first."""
    try:
        from cleanlab.filter import find_label_issues
    except ImportError:
        raise LeftOutError("it needs cleanlab: pip install 'softvote[report]'") from None
    probabilities = asked.probabilities.astype(np.float64)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tags that few rows have
        found = find_label_issues(
            asked.labels, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1
        )
    suspects = np.asarray(found, np.int64)
    return np.asarray(suspects[probabilities.argmax(axis=1)[suspects] != asked.labels[suspects]])


def _count(doubts: Sequence[_Doubt], data: ReportData) -> list[Block]:
    """Whose labels are doubted most, where there are several per image."""
    if data.task.is_single_label:
        return []
    counts = Counter(doubt.asked for doubt in doubts).most_common()
    absent = Counter(doubt.asked for doubt in doubts if data.task.kind == "tags" and doubt.label == "0")
    told = [
        f"{name} {count:,}{f' ({absent[name]:,} perhaps missing)' if absent[name] else ''}"
        for name, count in counts[:_MOST_COUNTED]
    ]
    more = [f"{len(counts) - len(told)} more"] if len(counts) > len(told) else []
    return [Paragraph(f"Doubtful labels: {', '.join([*told, *more])}.")]


def _how_tags_are_read(data: ReportData) -> str:
    return " A `label` of 1 says that the image has the tag." if data.task.kind == "tags" else ""


def _describe(data: ReportData, doubt: _Doubt) -> list[str]:
    """The cells of a doubtful label, in the order of the file."""
    names = [str(data.rows[doubt.position]), *([doubt.asked] if doubt.asked else [])]
    shares = [f"{share:.4f}" for share in (doubt.label_probability, doubt.corrected_probability)]
    return [*names, doubt.label, doubt.corrected, *shares]


def _picture(data: ReportData, position: int) -> str:
    return encode_image(data.dataset.train_pixels[data.rows[position]])


def _write(lines: Sequence[Sequence[str]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(lines)
    return buffer.getvalue()
