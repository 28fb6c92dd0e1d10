"""Predict: from a program or a folder of networks, and images, to a table of labels."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from softvote.data.inference_inputs import InputImages, read_inputs
from softvote.ensembling.ensemble import Ensemble, load_ensemble
from softvote.errors import UserError
from softvote.export.record import ProgramRecord
from softvote.storage.files import write_text
from softvote.storage.paths import ExportFolder
from softvote.storage.snapshot import is_intact
from softvote.words import counted

if TYPE_CHECKING:
    from softvote.export.program import Predict, Signature


@dataclass(frozen=True)
class PredictOptions:
    """What to say of which images.

    Attributes:
        images: image files, folders of them, .npy arrays and pixel CSVs.
        addend: one for every image that has none in its file.
        resize: whether images of other sizes are brought to the model's.
        probabilities: whether each class has a column.
        to: the file to write; None for none.
    """

    images: Sequence[Path]
    addend: str | None = None
    resize: bool = False
    probabilities: bool = False
    to: Path | None = None


@dataclass(frozen=True)
class PredictResult:
    """Labels of images.

    Attributes:
        table: CSV, one line per image: file, row in it (from 0), label or labels, and their probabilities.
        rows: how many images.
        path: the file it was written to; None where it was not.
        decided: by what labels were named, in words; empty where they are the most probable.
    """

    table: str
    rows: int
    path: Path | None
    decided: str = ""

    def __str__(self) -> str:
        return (
            f"wrote {self.path}  {counted(self.rows, 'row')}" if self.path else self.table.removesuffix("\n")
        )


def run(model: Path, wanted: PredictOptions) -> PredictResult:
    """Predict, and write the table where a file is named.

    Labels are named as a submission would name them, where that names labels at all: by the thresholds or cut
    points that were fitted for the voter. A fold has its member's.

    Args:
        model: a program.pt2 or program.onnx, or the folder of an export, an ensemble, a member or a
            fold; networks from folders compute in float32, like programs.

    Raises:
        UserError: no such model, or every problem of the images, one line each.
    """
    signature, probabilities_of = _load(model)
    image = signature.image.model_copy(update={"resize": wanted.resize})
    given = read_inputs(wanted.images, image, signature.addend, wanted.addend)
    found = [probabilities_of(each.pixels, each.addends) for each in given]
    text = _table(given, found, signature, wanted.probabilities)
    if wanted.to is not None:
        write_text(wanted.to, text)
    return PredictResult(text, sum(map(len, found)), wanted.to, _say_how(signature))


def _say_how(signature: Signature) -> str:
    """By what labels are named, for people; nothing where it goes without saying."""
    decision, space = signature.decision, signature.label_space
    if decision is not None and not decision.is_plain:
        fitted = ", fitted out of fold, as a submission is decided" if decision.fitted else ""
        return f"named by {decision.describe(space)}{fitted}"
    if signature.task.kind == "tags":
        return "tags of at least one half are named: no decision is kept with the model"
    return ""


def _name(probabilities: NDArray[np.float32], signature: Signature) -> NDArray[np.bool_]:
    """The columns that are named, bool (N, K)."""
    decision, task = signature.decision, signature.task
    if decision is None or decision.is_plain:
        return task.columns(task.name(probabilities))
    return task.columns(np.asarray(decision.decide(probabilities, signature.label_space), np.int64))


def _load(model: Path) -> tuple[Signature, Predict]:
    found = _predict(model)

    from softvote.compute.device import find_device
    from softvote.export.program import as_predict_fn, create_module, load_exported

    if isinstance(found, Path):
        return load_exported(found)
    program, signature = create_module(found, find_device())
    return signature, as_predict_fn(program)


def _predict(model: Path) -> Path | Ensemble:
    """The file of a program, or the voter whose folder this is; torch is not needed to say no."""
    if model.is_dir():
        programs = [path for path in ExportFolder(model).programs if path.is_file()]
        return _check_program(programs[0]) if programs else load_ensemble(model)
    if not model.exists():
        raise UserError.at(model, "no such model", "make one with: `export PIPELINE`")
    if model.suffix not in (".pt2", ".onnx"):
        raise UserError.at(
            model, "is not a model", "name a program.pt2, a program.onnx or a folder of models/"
        )
    return _check_program(model)


def _check_program(program: Path) -> Path:
    """The program, if it is what was written with the record beside it; without them nothing is known.

    Raises:
        UserError: it is another; neither format notices a changed weight by itself.
    """
    folder = ExportFolder(program.parent)
    record = ProgramRecord.read(folder.record)
    content = dict(zip(folder.programs, record.checksums if record else [], strict=False))
    if program in content and not is_intact(program, content[program]):
        raise UserError.at(program, "is not the file that softvote export wrote", "export it again")
    return program


def _table(
    given: list[InputImages], found: list[NDArray[np.float32]], signature: Signature, every_class: bool
) -> str:
    """CSV; probabilities have the seven digits that float32 has.

    Where several names are given to an image, tags or a class of each target, they and their probabilities
    stand in one cell each, with `;` between them.
    """
    classes, text = signature.classes, io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = [f"probability of {name}" for name in classes] if every_class else []
    writer.writerow(["source", "row", "label", "probability", *columns])
    for each, probabilities in zip(given, found, strict=True):
        named = _name(probabilities, signature)
        for row, line in enumerate(probabilities.tolist()):
            shown, given_names = [f"{share:.7g}" for share in line], np.flatnonzero(named[row])
            cells = [";".join(texts[column] for column in given_names) for texts in (classes, shown)]
            writer.writerow([each.path, row, *cells, *(shown if every_class else [])])
    return text.getvalue()
