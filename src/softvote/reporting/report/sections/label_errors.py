"""Which labels are doubtful."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from softvote.reporting.report.blocks import Attachment, Block, Cell, DataTable, Paragraph
from softvote.reporting.report.images import encode_image
from softvote.reporting.report.section import (
    LeftOutError,
    ReportData,
    needs_members,
    needs_one_label,
    section,
)

_MOST_SHOWN = 150
_HEADER = ["row", "label", "corrected", "label_probability", "corrected_probability"]
_FILE = "corrections.csv"


@section(
    "labels",
    "Likely label errors",
    "Which labels would the voter call wrong, and which would you?",
    needs_members,
    needs_one_label,
    rank=55,
)
def build_label_errors(data: ReportData) -> Sequence[Block]:
    """Build the sheet of doubtful labels, and the file of corrections that a next pipeline can take."""
    suspects = _find_suspects(data.labels, data.oof)
    if not len(suspects):
        return [Paragraph(f"cleanlab doubts none of {len(data.labels):,} labels.")]
    lines = [_describe(data, int(position)) for position in suspects]
    shown = [
        [Cell(line[0], float(line[0]), source=_picture(data, int(position))), *map(Cell, line[1:])]
        for line, position in zip(lines[:_MOST_SHOWN], suspects, strict=False)
    ]
    caption = f"{len(shown)} of {len(suspects):,} doubtful labels in {len(data.labels):,} rows, worst first"
    return [
        Paragraph(
            "Found by cleanlab (Northcutt et al. 2021) on out-of-fold probabilities. Many are images that "
            "are hard, not labels that are wrong: look, and tick what you would correct. A next pipeline "
            "takes the downloaded file as `competition: {corrections: FILE}`."
        ),
        Paragraph(
            "Corrections may flatter: where labels become what the voter says, cross-validation rises by "
            "itself, and the labels of test rows stay as they are. Compare on the labels as given.",
            "warning",
        ),
        DataTable(_HEADER, shown, caption, selectable=_FILE),
        Attachment(_FILE, _write(lines)),
    ]


def _find_suspects(labels: NDArray[np.int64], oof: NDArray[np.float32]) -> NDArray[np.int64]:
    """Positions of doubtful labels, the most doubtful first."""
    try:
        from cleanlab.filter import find_label_issues
    except ImportError:
        raise LeftOutError("it needs cleanlab: pip install 'softvote[report]'") from None
    probabilities = oof.astype(np.float64)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    held = np.unique(labels)
    if len(held) < 2:
        raise LeftOutError("all labels are the same")
    found = find_label_issues(labels, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1)
    suspects = np.asarray(found, np.int64)
    return np.asarray(suspects[probabilities.argmax(axis=1)[suspects] != labels[suspects]])


def _describe(data: ReportData, position: int) -> list[str]:
    """The cells of a doubtful label, in the order of the file."""
    label, row = data.labels[position], data.oof[position]
    guess = int(row.argmax())  # what is most probable, whatever cut points would submit
    names = [str(data.rows[position]), data.classes[label], data.classes[guess]]
    return [*names, f"{row[label]:.4f}", f"{row[guess]:.4f}"]


def _picture(data: ReportData, position: int) -> str:
    return encode_image(data.dataset.train_pixels[data.rows[position]])


def _write(lines: Sequence[Sequence[str]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([_HEADER, *lines])
    return buffer.getvalue()
