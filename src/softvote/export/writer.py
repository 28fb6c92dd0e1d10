"""Export: a voter as one program that runs without softvote, for PyTorch (`torch.export`) and as ONNX."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.export import Dim, ExportedProgram
from torch.fx import GraphModule, Node

from softvote import __version__
from softvote.compute.precision import ComputeConfig
from softvote.config.views import TestTime
from softvote.ensembling.ensemble import Ensemble
from softvote.ensembling.predictions import merge_folds, read_predictions
from softvote.ensembling.vote import soft_vote
from softvote.errors import UserError
from softvote.export.program import (
    METADATA_IN_ONNX,
    METADATA_IN_PT2,
    EnsembleModule,
    Signature,
    as_predict_fn,
    create_module,
    load_exported,
    quiet,
)
from softvote.export.record import NetworkRecord, ProgramMemberRecord, ProgramRecord
from softvote.inference.loading import load_predictor, read_training
from softvote.inference.record import ExecutionRecord
from softvote.storage.files import atomic_write
from softvote.storage.fingerprints import sha256_of
from softvote.storage.paths import ExportFolder, FoldFolder

_MOST_BYTES = 2**31 - 2**24  # one ONNX file holds 2 GiB


_MOST_OFF = 1e-3  # by which rounding alone may change a probability


_MOST_OFF_ROUNDED = 0.2  # the same where other steps round to 8 or 10 bits of mantissa instead of 23


@dataclass(frozen=True)
class Check:
    """Rows for which a written program must give the stored probabilities.

    Attributes:
        rows: int64 (n,), their numbers in the test file.
        images: uint8 (n, C, H, W).
        addends: int64 (n,), where there are any.
        stored: float32 (n, K).
    """

    rows: NDArray[np.int64]
    images: NDArray[np.uint8]
    addends: NDArray[np.int64] | None
    stored: NDArray[np.float32]


def require_packages() -> None:
    """Refuse early what would fail late.

    Raises:
        UserError: the packages of the extra `export` are not installed.
    """
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise UserError.at(
            "export", f"needs {', '.join(missing)}", "install with: pip install 'softvote[export]'"
        )


def write_program(
    voter: Ensemble, folder: ExportFolder, pipeline: str, fingerprint: str, check: Check
) -> dict[str, float]:
    """Write a voter's program, for PyTorch and as ONNX, and its record.

    Each file is loaded back and run on some rows before it takes its place; it must give what the
    networks give in float32. Run as they have predicted, these must give what is stored; how far float32
    is from that is only told.

    Args:
        pipeline: the voter's.
        fingerprint: of what the program is made from.
        check: those rows.

    Returns:
        The largest difference from the stored probabilities, by file name.

    Raises:
        UserError: a training is damaged, a network cannot be exported, or networks or a file give other
            probabilities.
    """
    program, signature = create_module(voter, "cpu")
    _refuse_large(program, voter)
    refuse_others(voter, check)
    expected = as_predict_fn(program)(check.images, check.addends)
    record = _record(voter, signature, pipeline, fingerprint)
    exported = _trace(program, signature, voter)
    found = dict[str, float]()
    with atomic_write(folder.torch) as torch_file, atomic_write(folder.onnx) as onnx_file:
        _write_torch(exported, record, torch_file)
        _write_onnx(exported, record, onnx_file)
        for place, written in ((folder.torch, torch_file), (folder.onnx, onnx_file)):
            given = load_exported(written)[1](check.images, check.addends)
            if not _largest(given, expected) <= _MOST_OFF:
                off = f"{_largest(given, expected):.2g}"
                raise UserError.at(
                    place, f"would differ from the networks by {off}", "predict from the folder"
                )
            found[place.name] = _largest(given, check.stored)
    checked = {
        "largest_difference": {"rows": len(check.images)} | found,
        "checksums": [sha256_of(program) for program in folder.programs],
        "how_to_call": how_to_call(signature),
    }
    record.model_copy(update=checked).write(folder.record)
    return found


def refuse_others(voter: Ensemble, check: Check) -> None:
    """Refuse networks that do not give what is stored for them, and a vote that is not theirs.

    Raises:
        UserError: so it is, or a training is damaged.
    """
    members = []
    for member in voter.voting:
        stored = [read_predictions(fold) for fold in member.folds]
        for fold, predictions in zip(member.folds, stored, strict=True):
            _refuse_other(fold, predictions.test[check.rows], check)
        members.append(merge_folds(stored).test[check.rows])
    weights = np.array([member.weight for member in voter.voting])
    off = _largest(soft_vote(members, weights, voter.space, blocks=voter.blocks), check.stored)
    if not off <= _MOST_OFF:
        what = f"its test.npy differs by {off:.2g} from those of its folds"
        raise UserError.at(voter.name, what, "delete its scores.json and run its stage again")


def _refuse_other(fold: FoldFolder, expected: NDArray[np.float32], check: Check) -> None:
    predictor = load_predictor(fold)
    off = _largest(predictor.probabilities(check.images, check.addends), expected)
    if not off <= _tolerance(predictor.compute_config, read_training(fold).execution):
        what = f"its network, run as it has predicted, differs from test.npy by {off:.2g}"
        remedy = f"delete {fold.path.parent}/fold*/scores.json, run train and ensemble again"
        raise UserError.at(fold.path, what, remedy)


def _tolerance(here: ComputeConfig, recorded: ExecutionRecord) -> float:
    """By how much the same network may differ between a few rows here and all rows there."""
    # CUDA sums in another order where a batch has another size, and rounds even float32 between layers,
    # to TF32; two devices round to bfloat16 each after its own fashion.
    devices = {here.device, recorded.device}
    same = devices == {"cpu"} or ("cuda" not in devices and here.precision == "fp32")
    return _MOST_OFF if same else _MOST_OFF_ROUNDED


def how_to_call(signature: Signature) -> dict[str, list[str]]:
    """Lines of Python that call each file, for people; they run as they stand beside the file."""
    image = signature.image
    shape = f"1, {image.channels}, {image.height}, {image.width}"
    one, more, given = "images", "", '"images": images'
    if signature.addend:
        one, more, given = "images, addends", ", addends", f'{given}, "addends": addends'
    torch_addends = ["addends = torch.tensor([7])  # int64 (B,), 0..9"] if more else []
    numpy_addends = ["addends = numpy.array([7])  # int64 (B,), 0..9"] if more else []
    return {
        "program.pt2": [
            "import torch",
            'program = torch.export.load("program.pt2").module()',
            f"images = torch.zeros({shape}, dtype=torch.uint8)  # (B, C, H, W), 0..255",
            *torch_addends,
            f"probabilities = program({one})  # float32 (B, {len(signature.classes)})",
        ],
        "program.onnx": [
            "import numpy, onnxruntime",
            'program = onnxruntime.InferenceSession("program.onnx")',
            f"images = numpy.zeros(({shape}), numpy.uint8)  # (B, C, H, W), 0..255",
            *numpy_addends,
            f"(probabilities,) = program.run(None, {{{given}}})  # float32 (B, {len(signature.classes)})",
        ],
    }


def _record(voter: Ensemble, signature: Signature, pipeline: str, fingerprint: str) -> ProgramRecord:
    """All that a program carries along."""
    return ProgramRecord(
        fingerprint=fingerprint,
        pipeline=pipeline,
        voter=voter.name,
        classes=signature.classes,
        image=signature.to_record().image,
        addend=signature.addend,
        **signature.task.kind_fields,
        **signature.decision_fields,
        precision="float32",
        rule=voter.rule or "none",
        space=voter.space,
        members=[
            ProgramMemberRecord(
                name=member.name,
                weight=member.weight,
                networks=[_network_record(fold) for fold in member.folds],
            )
            for member in voter.voting
        ],
        versions={"softvote": __version__, "torch": str(torch.__version__)},
    )


def _network_record(fold: FoldFolder) -> NetworkRecord:
    training = read_training(fold)
    member, ran = training.member, training.execution
    return NetworkRecord(
        fold=fold.path.name,
        model=member["model"],
        head=member["head"],
        shift=member["tta"]["shift"],
        trained_in=f"{ran.precision} on {ran.device}",
        weights_sha256=training.weights_sha256,
        views=TestTime.model_validate(member["tta"]).count,
    )


def _largest(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """The largest difference; not a number where there is one that is none."""
    return float(np.abs(one - other).max())


def _refuse_large(program: EnsembleModule, voter: Ensemble) -> None:
    size = sum(value.numel() * value.element_size() for value in program.state_dict().values())
    if size > _MOST_BYTES:
        what = f"{size / 2**30:.1f} GiB of weights do not fit one ONNX file"
        raise UserError.at(voter.name, what, "export a member with `member` NAME")


def _trace(program: EnsembleModule, signature: Signature, voter: Ensemble) -> ExportedProgram:
    """The program as a graph, for any number of images.

    Raises:
        UserError: a network does something that cannot be traced.
    """
    image, batch = signature.image, Dim("batch", min=1)
    inputs: tuple[Tensor, ...] = (
        torch.zeros(2, image.channels, image.height, image.width, dtype=torch.uint8),
    )
    if signature.addend:
        inputs = (*inputs, torch.tensor([0, 1]))
    shapes = tuple({0: batch} for _ in inputs)
    with torch.no_grad(), quiet():
        try:
            exported = torch.export.export(program, inputs, dynamic_shapes=shapes, strict=False)
        except Exception:  # len(tensor), for one, is a plain number to all but the strict tracer
            exported = _trace_strictly(program, inputs, shapes, voter)
    for node in _nodes(exported):
        node.meta.pop("stack_trace", None)  # it names folders of this machine
    return exported


def _nodes(exported: ExportedProgram) -> list[Node]:
    """The nodes of a program's graph and of the graphs in it."""
    graphs = [part.graph for part in exported.graph_module.modules() if isinstance(part, GraphModule)]
    return [node for graph in graphs for node in graph.nodes]


def _trace_strictly(program: EnsembleModule, inputs: Any, shapes: Any, voter: Ensemble) -> ExportedProgram:
    try:
        return torch.export.export(program, inputs, dynamic_shapes=shapes, strict=True)
    except Exception as error:  # whatever PyTorch's tracers raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError.at(
            voter.name, f"cannot be exported ({reason})", "export another with `member`"
        ) from None


def _write_torch(exported: ExportedProgram, record: ProgramRecord, path: Path) -> None:
    # Through memory, because the file would hold its own, temporary, name.
    buffer = io.BytesIO()
    with quiet():
        torch.export.save(exported, buffer, extra_files={METADATA_IN_PT2: json.dumps(record.to_json())})
    path.write_bytes(buffer.getbuffer())


def _write_onnx(exported: ExportedProgram, record: ProgramRecord, path: Path) -> None:
    names = ["images", "addends"] if record.addend else ["images"]
    with quiet():
        if any(node.target is _ERFC for node in _nodes(exported)):
            exported = exported.run_decompositions({_ERFC: _erfc})
        program = torch.onnx.export(
            exported, input_names=names, output_names=["probabilities"], dynamo=True, verbose=False
        )
    assert program is not None, "asked for a program, not for a file"
    program.model.metadata_props[METADATA_IN_ONNX] = json.dumps(record.to_json())
    program.save(path, external_data=False)


_ERFC = torch.ops.aten.special_erfc.default


_CHEBYSHEV = (
    0.17087277, -0.82215223, 1.48851587, -1.13520398, 0.27886807,
    -0.18628806, 0.09678418, 0.37409196, 1.00002368, -1.26551223,
)  # fmt: skip


def _erfc(values: Tensor) -> Tensor:
    """What `torch.special.erfc` gives, to 1.2e-7 of it, by operators that ONNX Runtime has.

    It knows no error function in double precision; this is `erfcc` of Numerical Recipes (Press et al.
    1992, section 6.2).
    """
    t = 1 / (1 + 0.5 * values.abs())
    polynomial = torch.zeros_like(t)
    for coefficient in _CHEBYSHEV:
        polynomial = polynomial * t + coefficient
    found = t * torch.exp(polynomial - values * values)
    return torch.where(values < 0, 2 - found, found)
