"""What registries hold: the base class of each kind of thing that a pipeline file may name.

An entry has its keys of the pipeline file, which the schema shows, and often what it does with them; of a
metric, a decision, a form, a layout of files and a tracker another class does that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import yaml
from pydantic import SerializationInfo, SerializerFunctionWrapHandler, model_serializer

from softvote.config.schema import Positive, Strict
from softvote.errors import Problem
from softvote.task import LabelSpace, TaskKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor
    from torch.nn import Parameter
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

ImageTransform = Callable[["NDArray[np.uint8]", "NDArray[np.int64]", int], "NDArray[np.uint8]"]
"""(images uint8 (B, C, H, W), their rows int64 (B,), seed) -> images uint8 (B, C', H', W').

What happens to an image depends on the seed and its row alone. It is sent to other processes, so it must be
a function of a module, a `functools.partial` of one, or an object that can be pickled."""


Predicted = Literal["labels", "top_k", "probabilities"]
"""What is predicted of N images. `labels`: int64 (N,), (N, K) of 0 and 1 or (N, T), as the task's labels are.
`top_k`: int64 (N, k), the columns of the most probable classes, the first first. `probabilities`: float32
(N, K)."""


class _Named(Strict):
    """One of several kinds, told apart by their names."""

    name: str

    @model_serializer(mode="wrap")
    def _with_its_name(
        self, serialize: SerializerFunctionWrapHandler, info: SerializationInfo
    ) -> dict[str, Any]:
        """The name too where defaults are left out: without it nobody knows which kind the rest is of."""
        written: dict[str, Any] = serialize(self)
        return written if info.exclude and "name" in info.exclude else {"name": self.name} | written


class MetricConfig(_Named):
    """What is scored: the metric of the same name computes it.

    Attributes:
        needs: what it is taken of; `ranking` is probabilities of which the order alone counts.
        kinds: the tasks that it knows.
        greater_is_better: whether a greater value is.
        lowest: that it can be.
        highest: that it can be.
        percent: whether people read it as a percentage.
        argmax_is_best: whether naming the most probable label is already the best that one can do.
        clip: how near to 0 and 1 probabilities are let come, because a wrong certainty costs without end.
    """

    needs: ClassVar[Predicted | Literal["ranking"]] = "labels"
    kinds: ClassVar[tuple[TaskKind, ...]] = ("classes", "ordered", "tags", "targets")
    greater_is_better: ClassVar[bool] = True
    lowest: ClassVar[float] = 0.0
    highest: ClassVar[float] = 1.0
    percent: ClassVar[bool] = False
    argmax_is_best: ClassVar[bool] = False
    clip: ClassVar[float] = 0.0

    @property
    def predicted(self) -> Predicted:
        """What has to be predicted for it."""
        return "probabilities" if self.needs == "ranking" else self.needs

    @property
    def title(self) -> str:
        """Its name in tables."""
        return self.name.replace("_", " ")

    def check(self, space: LabelSpace) -> None:
        """Refuse labels that it cannot be taken of.

        Raises:
            ConfigError: they are such.
        """

    def __str__(self) -> str:
        """Its name and what was said beyond it, as YAML: `f_beta {average: samples, beta: 3.0}`."""
        said = self.model_dump(exclude_defaults=True)
        del said["name"]
        in_flow = yaml.safe_dump(said, default_flow_style=True, width=math.inf).strip()
        return f"{self.name} {in_flow}" if said else self.name


class DecisionConfig(_Named):
    """How probabilities become what is submitted; the decision of the same name does it.

    Attributes:
        makes: what comes out.
        kinds: the tasks that it knows.
        needs_fit: whether it has numbers that are fitted to labels.
    """

    makes: ClassVar[Predicted] = "labels"
    kinds: ClassVar[tuple[TaskKind, ...]] = ("classes", "ordered", "tags", "targets")
    needs_fit: ClassVar[bool] = False

    def check(self, space: LabelSpace) -> None:
        """Refuse labels that it cannot decide on.

        Raises:
            ConfigError: they are such.
        """


class FormConfig(_Named):
    """How a submission is written; the form of the same name writes, reads and checks it.

    Attributes:
        takes: what of each kind of task it can write.
    """

    takes: ClassVar[Mapping[TaskKind, tuple[Predicted, ...]]] = {}

    def check(self, space: LabelSpace) -> None:
        """Refuse labels that it cannot write.

        Raises:
            ConfigError: they are such.
        """


class AugmentationConfig(Strict):
    """Some keys under `augment`, and what they do to training images; import torch inside.

    A family of keys is in use where one of them is not its default.

    Attributes:
        before_movement: whether it comes before `rotate`, `shift` and their like; else after.
    """

    before_movement: ClassVar[bool] = False

    @property
    def columns(self) -> int:
        """How many uniform numbers it needs for each image; 0 where it works on the processor."""
        return 0

    def find_misfits(self, channels: int, height: int, width: int) -> Iterator[Problem]:
        """Why it is not for images of this shape; the place is a key."""
        return iter(())

    def apply(self, images: Tensor, drawn: Tensor) -> Tensor:
        """Change a batch where it lies, waiting for nothing: steps are recorded as CUDA graphs.

        Args:
            images: float32 (B, C, H, W) in 0..255, which stay as they are.
            drawn: float32 (B, columns) in [0, 1), of each image by its row.

        Returns:
            float32 (B, C, H, W) in 0..255.
        """
        return images

    def create_transform(self) -> ImageTransform | None:
        """What it does on the processor, before all that the device does; None where it does nothing."""
        return None


class TrackerConfig(_Named):
    """Where trainings show their curves; the tracker of the same name writes there.

    Attributes:
        package: what it imports; the extra that brings it is called as the tracker.
    """

    package: ClassVar[str] = ""


class OptimizerConfig(Strict):
    """An optimiser's hyperparameters, and how torch makes it of them."""

    name: str
    lr: Positive

    def create(self, parameters: Iterable[Parameter] | Iterable[dict[str, Any]], fused: bool) -> Optimizer:
        """Build torch's optimiser over parameters or groups of them; import torch inside.

        Args:
            fused: whether the device has fused steps.
        """
        raise NotImplementedError


class LossConfig(Strict):
    """A loss's hyperparameters, and what it makes of a head's outputs; import torch inside.

    Attributes:
        kinds: of tasks that it is for.
    """

    kinds: ClassVar[tuple[TaskKind, ...]] = ("classes", "ordered", "tags", "targets")

    name: str

    def of_classes(self, logits: Tensor, wanted: Tensor) -> Tensor:
        """The loss of each row where one class is right.

        Args:
            logits: float32 (B, K), whose softmax is the probabilities.
            wanted: float32 (B, K), the probabilities to be learned.

        Returns:
            float32 (B,).
        """
        raise NotImplementedError

    def of_tags(self, logits: Tensor, wanted: Tensor) -> Tensor:
        """The loss of each tag of each row.

        Args:
            logits: float32 (B, K), whose sigmoids are the probabilities.
            wanted: float32 (B, K), the probabilities to be learned.

        Returns:
            float32 (B, K).
        """
        raise NotImplementedError


class ScheduleConfig(Strict):
    """How the learning rate moves in training, and how torch makes it do so."""

    moves_per: ClassVar[Literal["step", "epoch"]] = "step"
    """After what the rate moves; after an epoch it is told the loss that is watched."""

    name: str

    @property
    def held_out_proportion(self) -> float:
        """Proportion of the training rows that are kept out of training, for their loss to be watched."""
        return 0.0

    def create(self, optimizer: Optimizer, steps: int) -> LRScheduler | None:
        """Build torch's scheduler, or none where the rate stays; import torch inside.

        Args:
            steps: optimiser steps in the whole training.
        """
        return None


class FilesConfig(Strict):
    """How a competition's raw files are laid out; the reader of the same format reads them."""

    format: str

    @property
    def test_source(self) -> str:
        """What holds the test images, for people."""
        raise NotImplementedError

    @property
    def packages(self) -> dict[str, str]:
        """What reading them imports, as `import name: name of the package`."""
        return {}

    def check_addend(self, addend: bool) -> None:
        """Refuse files that do not fit whether a known integer comes with each image.

        Raises:
            ValueError: they do not.
        """

    def check_channels(self, channels: int) -> None:
        """Refuse files that do not fit the number of channels.

        Raises:
            ValueError: they do not.
        """
