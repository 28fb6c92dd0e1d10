"""How a member is trained: its network, and every choice of its recipe."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from softvote.schema import BelowOne, Fraction, NonNegative, Positive, Strict


class Sgd(Strict):
    name: Literal["sgd"]
    lr: Positive = 0.1
    momentum: BelowOne = 0.9
    nesterov: bool = True
    weight_decay: NonNegative = 0.0

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> Sgd:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs momentum above 0; set nesterov: false")
        return self


class Adam(Strict):
    name: Literal["adam"]
    lr: Positive = 1e-3
    betas: tuple[BelowOne, BelowOne] = (0.9, 0.999)
    weight_decay: NonNegative = 0.0


class AdamW(Strict):
    name: Literal["adamw"]
    lr: Positive = 1e-3
    betas: tuple[BelowOne, BelowOne] = (0.9, 0.999)
    weight_decay: NonNegative = 0.01


Optimizer = Annotated[Sgd | Adam | AdamW, Field(discriminator="name")]


class Constant(Strict):
    name: Literal["constant"]


class Plateau(Strict):
    """The learning rate falls when the watched loss stops falling; looked at once an epoch."""

    name: Literal["plateau"]
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    patience: Annotated[int, Field(ge=0)] = 2
    watch: Literal["training_loss", "held_out"] = "training_loss"
    """held_out keeps a slice of the training folds out of training; the validation fold is never watched."""
    held_out: Annotated[float, Field(gt=0, le=0.5)] = 0.1
    """The share of the training rows that watch: held_out keeps out."""


class Cosine(Strict):
    """Linear warm-up, then half a cosine down (Loshchilov and Hutter 2017, one cycle)."""

    name: Literal["cosine"]
    warmup: BelowOne = 0.05
    """Share of all steps."""
    final: Fraction = 0.0
    """Last learning rate as a share of the highest."""


class OneCycle(Strict):
    """Cosine up from 1/25, cosine down to almost nothing (Smith and Topin 2018).

    Momentum, or the first beta, runs against it between 0.95 and 0.85, whatever the optimizer says.
    """

    name: Literal["one_cycle"]
    warmup: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of all steps."""


Schedule = Annotated[Constant | Plateau | Cosine | OneCycle, Field(discriminator="name")]


class Augment(Strict):
    """Random changes to training images; every amount is the most in either direction."""

    engine: Literal["batched", "albumentations"] = "batched"
    """batched for whole batches on the device; albumentations image by image, elastic in whole pixels."""
    rotate: Annotated[float, Field(ge=0, le=180)] = 0.0
    """Degrees."""
    scale: BelowOne = 0.0
    """Zoom, as a share: 0.1 gives 0.9 to 1.1."""
    shear: Annotated[float, Field(ge=0, le=60)] = 0.0
    """Degrees along x."""
    shift: NonNegative = 0.0
    """Pixels along each axis."""
    elastic: NonNegative = 0.0
    """Pixels that the points of a 4 x 4 grid move."""
    horizontal_flip: Fraction = 0.0
    """Probability."""

    def amounts(self) -> str:
        """The amounts that are not zero, for people."""
        given = self.model_dump(exclude={"engine"}, exclude_defaults=True)
        return " ".join(f"{name} {amount:g}" for name, amount in given.items()) or "none"


class TestTime(Strict):
    """Test-time augmentation: predictions averaged over shifted views, out-of-fold and test alike."""

    __test__ = False  # not a test class, whatever pytest makes of the name

    shift: Annotated[int, Field(ge=0)] = 0
    """Pixels; the image itself and four shifted copies are averaged."""


class ExtraTrain(Strict):
    """Rows added to the training folds only: uint8 (n, H, W) images and what they show, as .npy files."""

    images: str
    """A path under input/."""
    labels: str
    """Integers (n,): labels, or of named classes their places from 0; of sums without the addend."""
    digits: str | None = None
    """Integers 0..9 (n, S): the hidden digits, where they are known."""
    alone: bool = False
    """The member learns from these rows and from none of the competition's."""


class Recipe(Strict):
    """How a member is trained; the last epoch counts."""

    head: Literal["softmax", "regression", "digits", "multilabel"] = "softmax"
    """What the network's output means: classes, a number, hidden digits, or which digits are present."""
    epochs: Annotated[int, Field(ge=1)] = 12
    batch_size: Annotated[int, Field(ge=2)] = 128
    optimizer: Optimizer = AdamW(name="adamw", lr=2e-3)
    schedule: Schedule = OneCycle(name="one_cycle")
    label_smoothing: BelowOne = 0.0
    mixup: NonNegative = 0.0
    """alpha of the Beta distribution images are mixed by (Zhang et al. 2018); 0 mixes none."""
    ema: BelowOne = 0.0
    """Decay a step of the moving average of weights that predicts; 0 keeps the plain weights."""
    augment: Augment | None = None
    plain_epochs: Annotated[int, Field(ge=0)] = 0
    """The last so many epochs see the images as they are: no augmentation, no mixup."""
    tta: TestTime = TestTime()
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto takes what a short probe on the machine finds fastest, and records it."""
    memory_format: Literal["auto", "contiguous", "channels_last"] = "auto"
    extra_train: ExtraTrain | None = None

    @model_validator(mode="after")
    def _smoothing_has_classes(self) -> Recipe:
        if self.label_smoothing and self.head != "softmax":
            raise ValueError(f"label_smoothing is for head: softmax; head: {self.head} has no use for it")
        return self


class Member(Recipe):
    """One network that votes."""

    model: str
    """A network of softvote.models or any timm backbone."""
    model_args: dict[str, Any] = {}
    """Further arguments of the network, as timm names them."""
    init_from: str | None = None
    """Another member, whose backbone's weights of the same fold this one starts from."""
    freeze: bool = False
    """The weights that init_from gives stay as they are; only the classifier learns."""

    @model_validator(mode="after")
    def _frozen_weights_come_from_somewhere(self) -> Member:
        if self.freeze and not self.init_from:
            raise ValueError("freeze keeps the weights of init_from; name a member there or leave freeze out")
        return self

    @property
    def weights_file(self) -> Path | None:
        """The file that the network's weights start from, where `model_args` names one."""
        return apart_from_weights(self.model_args)[1]


def apart_from_weights(args: dict[str, Any]) -> tuple[dict[str, Any], Path | None]:
    """A network's arguments without a file of weights, and that file.

    timm knows two places for it, and ours a third. What else an overlay says may shape the network and stays.
    """
    rest = dict(args)
    # The first is loaded last, over all that the others gave.
    files = [rest.pop("checkpoint_path", None), rest.pop("weights", None)]
    if isinstance(overlay := rest.get("pretrained_cfg_overlay"), dict):
        files.append(overlay.get("file"))
        rest["pretrained_cfg_overlay"] = {key: value for key, value in overlay.items() if key != "file"}
    named = next((str(file) for file in files if file), None)
    # Path.expanduser raises where there is no such user; this leaves the name as it is, and the network says
    # that there is no such file.
    return rest, Path(os.path.expanduser(named)) if named else None  # noqa: PTH111
