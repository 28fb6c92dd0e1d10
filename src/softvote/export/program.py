"""Programs: from raw images to probabilities, whatever stands behind them.

A program computes in float32 whatever its networks were trained in, and holds everything: normalisation,
test-time views, heads, the mean over folds, the vote, and the names of the classes.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from softvote.compute.precision import ComputeConfig
from softvote.config.image import Image
from softvote.ensembling.ensemble import Ensemble
from softvote.ensembling.scorer import FittedDecision
from softvote.ensembling.vote import ALL_COLUMNS, Blocks, Space
from softvote.errors import UserError
from softvote.export.record import ImageRecord, SignatureRecord
from softvote.inference.loading import load_predictor, read_training
from softvote.inference.predictor import PredictFn, Predictor, in_batches
from softvote.storage.paths import FoldFolder
from softvote.task import LabelSpace, Task

METADATA_IN_PT2 = "program.json"
"""The name, inside a .pt2 file, of the record it carries along."""


METADATA_IN_ONNX = "softvote"
"""The key of the same record in ONNX's metadata."""


Predict = PredictFn
"""(images uint8 (N, C, H, W), addends int64 (N,) or None) -> probabilities float32 (N, K)."""


@dataclass(frozen=True)
class Signature:
    """What a program takes and gives.

    Attributes:
        classes: K labels, in the order of the probabilities' columns.
        image: of one image.
        addend: whether an integer 0..9 comes with each image.
        task: what is named; of its columns `classes` are the names.
        decision: how probabilities become what is submitted; None where nobody said.
    """

    classes: list[str]
    image: Image
    addend: bool
    task: Task
    decision: FittedDecision | None = None

    @property
    def label_space(self) -> LabelSpace:
        """The task with the names of its columns, as decisions take it; targets are numbered."""
        return LabelSpace.of_names(self.task, self.classes)

    @classmethod
    def from_record(cls, record: SignatureRecord) -> Signature:
        """The signature that a program carries along.

        Raises:
            ValueError: an image without pixels or of more than 16 channels, or a decision that there is not.
        """
        image = Image.model_validate(record.image.to_json())
        decision = FittedDecision.of_record(record.decision) if record.decision else None
        return cls(record.classes, image, record.addend, record.task, decision)

    def to_record(self) -> SignatureRecord:
        """What a program carries along."""
        shape = {"channels": self.image.channels, "height": self.image.height, "width": self.image.width}
        image = ImageRecord.model_validate(shape | self.image.decoding)
        return SignatureRecord(
            classes=self.classes,
            image=image,
            addend=self.addend,
            **self.task.kind_fields,
            **self.decision_fields,
        )

    @property
    def decision_fields(self) -> dict[str, Any]:
        """`decision` for a record; nothing without one, so that such records stay as they are."""
        return {"decision": self.decision.record()} if self.decision else {}


class EnsembleModule(nn.Module):
    """Trained networks and their vote, from raw images to probabilities.

    It means what `merge_folds` and `soft_vote` mean, which compute by numpy.

    Args:
        members: for each member that votes, the predictors of its folds.
        weights: one per member, not negative, summing to 1.
        space: in which the members are averaged.
        blocks: the columns that sum to 1.
    """

    def __init__(
        self,
        members: list[list[Predictor]],
        weights: list[float],
        space: Space,
        blocks: Blocks = ALL_COLUMNS,
    ) -> None:
        super().__init__()
        # Where modules are looked for; the predictors below know the same ones.
        self.networks = nn.ModuleList(
            nn.ModuleList(predictor.network.model for predictor in member) for member in members
        )
        self.members, self.weights, self.space, self.blocks = members, weights, space, blocks

    def forward(self, images: Tensor, addends: Tensor | None = None) -> Tensor:
        """uint8 (B, C, H, W), and int64 (B,) where addends come along -> float32 (B, K)."""
        each = [
            torch.stack([one.of_batch(images, addends) for one in member]).mean(0) for member in self.members
        ]
        if not self.blocks:
            return self._vote_on_tags(each)
        mean = self._mean([_log(member) for member in each] if self.space == "logit" else each)
        parts = [mean[:, block] for block in self.blocks]
        return torch.cat(
            [
                part.softmax(1) if self.space == "logit" else part / part.sum(1, keepdim=True)
                for part in parts
            ],
            dim=1,
        )

    def _vote_on_tags(self, each: list[Tensor]) -> Tensor:
        if self.space == "logit":
            return self._mean([_log(member) - _log(1 - member) for member in each]).sigmoid()
        return self._mean(each).clamp(0, 1)

    def _mean(self, each: list[Tensor]) -> Tensor:
        mean = sum(weight * member for weight, member in zip(self.weights, each, strict=True))
        assert isinstance(mean, Tensor), "someone votes"
        return mean


def _log(probabilities: Tensor) -> Tensor:
    return probabilities.clamp_min(torch.finfo(torch.float32).tiny).log()


def create_module(voter: Ensemble, device: str) -> tuple[EnsembleModule, Signature]:
    """A voter's program, of float32 networks on a device, and what it takes.

    Members without weight are left out.

    Raises:
        UserError: a training is missing or damaged, or the trainings take or give different things.
    """
    voting = voter.voting
    signature = _common_signature([fold for member in voting for fold in member.folds])
    signature = replace(signature, decision=voter.decision)
    compute_config = ComputeConfig(device, "fp32", "contiguous")
    members = []
    for member in voting:
        predictors = [load_predictor(fold) for fold in member.folds]
        for predictor in predictors:
            compute_config.to_device(predictor.network.model)
        members.append([replace(predictor, compute_config=compute_config) for predictor in predictors])
    blocks = signature.task.blocks
    program = EnsembleModule(members, [member.weight for member in voting], voter.space, blocks)
    return program.eval(), signature


def _common_signature(folds: list[FoldFolder]) -> Signature:
    found: dict[str, FoldFolder] = {}
    for fold in folds:
        training = read_training(fold)
        channels, height, width = training.image
        shape = {"channels": channels, "height": height, "width": width}
        image = ImageRecord.model_validate(shape | training.decoding)
        record = SignatureRecord(
            classes=training.classes, image=image, addend=training.addend, **training.task.kind_fields
        )
        found.setdefault(record.model_dump_json(), fold)
    if len(found) > 1:
        one, other = list(found.values())[:2]
        raise UserError.at(
            other.path, f"has other classes or images than {one.path}", "run the train stage again"
        )
    return Signature.from_record(SignatureRecord.model_validate_json(next(iter(found))))


def as_predict_fn(program: EnsembleModule) -> Predict:
    """A program's function of arrays, computed by this process."""
    device = next(program.parameters()).device

    @torch.inference_mode()
    def run(images: NDArray[np.uint8], addends: NDArray[np.int64] | None) -> NDArray[np.float32]:
        more = () if addends is None else (torch.from_numpy(addends).to(device),)
        found: NDArray[np.float32] = program(torch.from_numpy(images).to(device), *more).cpu().numpy()
        return found

    return functools.partial(in_batches, run)


def load_exported(path: Path) -> tuple[Signature, Predict]:
    """A written program: what it takes and gives, and the function of arrays that it is.

    A `.pt2` file can hold code that runs when it is loaded; load what you trust.

    Args:
        path: a .pt2 or .onnx file.

    Raises:
        UserError: it cannot be read, or is not of `write_program`.
    """
    opened = _open_onnx if path.suffix == ".onnx" else _open_torch
    try:
        with quiet():
            metadata, run = opened(path)
        if not metadata:
            raise ValueError("it names no classes")
        record = SignatureRecord.model_validate_json(metadata)
        return Signature.from_record(record), functools.partial(in_batches, run)
    except UserError:
        raise
    except Exception as error:  # both runtimes raise whatever a damaged file makes them stumble over
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError.at(
            path, f"is not a program of softvote export, or damaged ({reason})", "export it again"
        ) from None


def _open_torch(path: Path) -> tuple[str, Predict]:
    files: dict[str, Any] = {METADATA_IN_PT2: ""}
    module = torch.export.load(path, extra_files=files).module()

    @torch.inference_mode()
    def run(images: NDArray[np.uint8], addends: NDArray[np.int64] | None) -> NDArray[np.float32]:
        more = () if addends is None else (torch.from_numpy(addends),)
        found: NDArray[np.float32] = module(torch.from_numpy(images), *more).numpy()
        return found

    return files[METADATA_IN_PT2], run


def _open_onnx(path: Path) -> tuple[str, Predict]:
    if find_spec("onnxruntime") is None:
        raise UserError.at(path, "needs onnxruntime", "install with: pip install 'softvote[export]'")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map.get(METADATA_IN_ONNX, "")

    def run(images: NDArray[np.uint8], addends: NDArray[np.int64] | None) -> NDArray[np.float32]:
        more = {} if addends is None else {"addends": addends}
        found: NDArray[np.float32] = session.run(None, {"images": images, **more})[0]
        return found

    return metadata, run


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings and log lines of PyTorch's exporters, which a user can do nothing about."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
