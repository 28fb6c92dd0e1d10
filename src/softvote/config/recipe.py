"""How a member is trained: its network, and every choice of its recipe."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AliasChoices, BeforeValidator, Field, PlainSerializer, model_validator

from softvote.config.augment import Augment
from softvote.config.entries import LossConfig, OptimizerConfig, ScheduleConfig
from softvote.config.registry import (
    HEADS_PLACE,
    LOSSES_PLACE,
    OPTIMIZERS_PLACE,
    SCHEDULES_PLACE,
    literal_of,
    load_registry,
    named_union_of,
    union_of,
)
from softvote.config.schema import BelowOne, ConfigError, NonNegative, Positive, Strict
from softvote.config.teacher import Teacher
from softvote.config.views import TestTime, View
from softvote.errors import Problem, one_of
from softvote.task import Task, TaskKind

_HEADS = load_registry(HEADS_PLACE)


_LOSSES = load_registry(LOSSES_PLACE)


_OPTIMIZERS = load_registry(OPTIMIZERS_PLACE)


_SCHEDULES = load_registry(SCHEDULES_PLACE)


_HEADS_ONCE = {kind.once: name for name, kind in _HEADS.items() if kind.once}


def _head_today(name: Any) -> Any:
    """The name of a head, also where a file has the one it had once."""
    return _HEADS_ONCE.get(name, name) if isinstance(name, str) else name


def _head_on_disk(name: str) -> str:
    """The name of a head in fingerprints and in what lies on disk, where a new one trains nothing anew."""
    return str(_HEADS[name].once or name)


def default_head(kind: TaskKind) -> str:
    """The head of a task of this kind where a recipe names none."""
    return next(name for name, head in _HEADS.items() if head.default_of == kind)


def _keys_as_text(weights: Any) -> Any:
    """Class names as text, where YAML reads them as numbers."""
    return {str(name): weight for name, weight in weights.items()} if isinstance(weights, dict) else weights


if TYPE_CHECKING:
    HeadName = str
    Loss = LossConfig
    Optimizer = OptimizerConfig
    Schedule = ScheduleConfig
else:
    HeadName = Annotated[
        literal_of(_HEADS), BeforeValidator(_head_today), PlainSerializer(_head_on_disk, return_type=str)
    ]
    Loss = named_union_of(_LOSSES)
    Optimizer = union_of(_OPTIMIZERS.values(), "name")
    Schedule = union_of(_SCHEDULES.values(), "name")


RENAMED = {"plain_epochs": "no_aug_epochs", "extra_train.alone": "extra_train.only"}
"""Keys of a recipe under which older files have them, and those of today.

Fingerprints and what lies on disk keep the old ones, so that a new name trains nothing anew.
"""


class ExtraTrain(Strict):
    """Rows added to the training folds only: uint8 (n, H, W) images and what they show, as .npy files."""

    images: str
    """Path under `input/` of a `.npy` file of images, uint8 (n, H, W)."""
    labels: str
    """Path under `input/` of a `.npy` file of integers (n,): the labels, or of named classes their indices
    from 0; of sums without the addend. Of tags 0 and 1 (n, K), of several targets (n, T)."""
    digits: str | None = None
    """Path under `input/` of a `.npy` file of integers 0..9 (n, S), the hidden digits, where they are
    known."""
    only: bool = Field(
        default=False, validation_alias=AliasChoices("only", "alone"), serialization_alias="alone"
    )
    """Train on these rows only, and on none of the competition's."""


class Recipe(Strict):
    """How a member is trained; the last epoch counts."""

    head: HeadName = "softmax"
    """What the network's output means: classes, a number, hidden digits, tags, ...; if omitted, it is
    `softmax` for classes, `ordinal` for ordered classes, `tags` for tags and `targets` for several
    targets."""
    epochs: Annotated[int, Field(ge=1)] = 12
    """Number of epochs, passes over the training rows; the last one counts."""
    batch_size: Annotated[int, Field(ge=2)] = 128
    """Images per optimiser step; where they do not divide evenly, batches are a little smaller."""
    optimizer: Optimizer = _OPTIMIZERS["adamw"](name="adamw", lr=2e-3)
    """Optimiser and its hyperparameters; `name` chooses it."""
    schedule: Schedule = _SCHEDULES["one_cycle"](name="one_cycle")
    """How the learning rate moves during training; `name` chooses the schedule."""
    label_smoothing: BelowOne = 0.0
    """Proportion of the target probability that is spread evenly over all classes (Szegedy et al. 2016), of a
    target's or, of a tag, over its being there or not; for `head: softmax`, `tags` and `targets`."""
    loss: Loss = _LOSSES["cross_entropy"](name="cross_entropy")
    """What training makes small, for `head: softmax`, `ordinal`, `tags` and `targets`; the others have one of
    their own. `name` chooses it."""
    class_weights: Annotated[
        Literal["balanced"] | dict[str, Positive] | None, BeforeValidator(_keys_as_text)
    ] = None
    """By what the loss of a row is multiplied: `balanced` gives every class the same part in it, and of a tag
    its presence and absence; or numbers by the names of classes, tags or targets, 1 where none is said. For
    the heads that take a `loss`."""
    sampling: Literal["shuffled", "balanced"] = "shuffled"
    """Which rows an epoch feeds: each once (`shuffled`), or as many, drawn so that all classes come equally
    often (`balanced`); of tags and targets a row comes as often as the rarest it shows asks for."""
    mixup: NonNegative = 0.0
    """Parameter alpha of the Beta distribution by which pairs of images are mixed (Zhang et al. 2018), no
    unit; 0 mixes none."""
    cutmix: NonNegative = 0.0
    """Parameter alpha of the Beta distribution of how much of an image a rectangle of another leaves, no unit
    (Yun et al. 2019): labels are mixed by area; 0 pastes none. With `mixup`, each batch takes one of both."""
    ema: BelowOne = 0.0
    """Decay per optimiser step of the exponential moving average of weights that predicts; 0 predicts with
    the plain weights."""
    augment: Augment | None = None
    """Random changes to training images; if omitted, images are trained on as they are."""
    no_aug_epochs: int = Field(
        default=0,
        ge=0,
        validation_alias=AliasChoices("no_aug_epochs", "plain_epochs"),
        serialization_alias="plain_epochs",
    )
    """Number of last epochs that see images as prediction does: no augmentation, no mixup
    or cutmix, no random view."""
    view: View | None = None
    """How the network sees an image, in training and prediction alike; if omitted, as it is."""
    normalise: Literal["dataset", "image", "pretrained"] = "dataset"
    """Whose mean and standard deviation become 0 and 1: those of all training rows, each image's own, or
    those with which the published weights of a timm network were trained (`pretrained`)."""
    tta: TestTime = TestTime()
    """Test-time augmentation of out-of-fold and test predictions alike."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Floating-point precision of training: float32, or autocast with float32 weights to bfloat16 or, with
    the loss scaled so that small gradients are not lost, to float16; `auto` takes what a short probe finds
    fastest on the machine, and records it. A GPU that only imitates bfloat16, as a T4 does, takes float16
    for it."""
    memory_format: Literal["auto", "contiguous", "channels_last"] = "auto"
    """Memory layout of images and weights, as PyTorch names it; `auto` is probed together with
    `precision`."""
    extra_train: ExtraTrain | None = None
    """Rows to train on beside the competition's; they are never validated on."""
    curves: bool = False
    """Log loss and accuracy on the fold that was left out after every epoch, for `report`. They are shown and
    decide nothing: weights are the same without, and a finished training is not repeated for them."""
    repeats: Annotated[int, Field(ge=1)] = 1
    """Number of trainings per fold, each from a seed of its own, whose probabilities are averaged."""
    refit: bool = False
    """One network more, of all rows: it predicts test rows beside those of the folds, and has no score."""
    micro_batch: Annotated[int, Field(ge=2)] | None = None
    """Images per forward pass at most, for networks that are too large for `batch_size` at once: gradients
    are added up, and the optimiser's step is still that of `batch_size`. The same up to rounding, but for
    dropout, which draws other numbers, batch norm, which sees this many images, and the loss of
    `head: digit_set` where only some rows' digits are known."""
    grad_checkpointing: bool = False
    """Compute activations again in the backward pass instead of keeping them (Chen et al. 2016): less memory,
    about a third more time, the same weights. For backbones of timm that can."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Factor by which the learning rate falls from each layer to the one before it, down from the
    optimizer's `lr` for the classifier (Clark et al. 2020, as timm groups layers); 1 for one rate. For
    networks of timm."""
    decay_norms: bool = True
    """Whether the optimizer's weight decay is of all weights; `false` spares biases, the weights of
    normalisation layers and what else a timm network names."""
    clip_grad: NonNegative = 0.0
    """Largest norm of all gradients together, no unit; a larger one is scaled down to it before a step, and 0
    clips none."""

    @property
    def images_at_once(self) -> int:
        """How many images a forward pass sees in training."""
        return min(self.batch_size, self.micro_batch or self.batch_size)

    def with_head_of(self, kind: TaskKind) -> Self:
        """The same recipe; where it names no head, with that of tasks of this kind."""
        return (
            self if "head" in self.model_fields_set else self.model_copy(update={"head": default_head(kind)})
        )

    def misfits_of_head(self, kind: TaskKind) -> list[Problem]:
        """Why its head is none for a task of this kind, or has no use for other keys, the places."""
        head, of_kind = _HEADS[self.head], [name for name, each in _HEADS.items() if kind in each.kinds]
        if kind not in head.kinds:
            asked = _kinds_in_words((kind,))
            what = f"{self.head} is for {_kinds_in_words(head.kinds)}, but this competition has {asked}"
            known = f"{', '.join(of_kind[:-1])} or {of_kind[-1]}" if of_kind[1:] else of_kind[0]
            return [Problem("head", what, f"use {known}, or leave it out")]
        needs = {
            "label_smoothing": "takes_label_smoothing",
            "loss": "takes_loss",
            "class_weights": "takes_loss",
            "teacher": "takes_teacher",  # which a member has
        }
        fields = type(self).model_fields
        problems = [
            Problem(key, f"is for head: {_heads_that(need)}", f"head: {self.head} has no use for it")
            for key, need in needs.items()
            if key in fields and getattr(self, key) != fields[key].default and not getattr(head, need)
        ]
        if head.takes_loss and kind not in self.loss.kinds:
            what = f"{self.loss.name} is for {_kinds_in_words(self.loss.kinds)}"
            problems.append(
                Problem(
                    "loss", f"{what}, but this competition has {_kinds_in_words((kind,))}", "choose another"
                )
            )
        return problems

    def misfits_of_weights(self, task: Task, classes: list[str]) -> list[Problem]:
        """Why its weights are not those of these classes, the names of the columns of a task."""
        if self.class_weights is not None and task.addend:
            what = "mean nothing where an addend is part of the label"
            return [Problem("class_weights", what, "leave them out")]
        if not isinstance(self.class_weights, dict):
            return []
        known = list(classes)
        if task.kind == "targets":
            known = [*dict.fromkeys(name.partition("=")[0] for name in classes), *classes]
        return [
            Problem(f"class_weights.{name}", f"no class '{name}'", one_of(known, name))
            for name in self.class_weights
            if name not in known
        ]


def _heads_that(need: str) -> str:
    return ", ".join(name for name, head in _HEADS.items() if getattr(head, need))


def _kinds_in_words(kinds: tuple[TaskKind, ...]) -> str:
    words = {"ordered": "ordered classes", "targets": "several targets"}
    return " and ".join(words.get(kind, kind) for kind in kinds)


class Member(Recipe):
    """One network that votes."""

    model: str
    """Name of the network: one of softvote.models, or any backbone of timm."""
    model_args: dict[str, Any] = {}
    """Further keyword arguments of the network, as timm names them, such as `drop_rate` or `pretrained`."""
    init_from: str | None = None
    """Name of another member, from whose backbone's weights of the same fold this one starts."""
    glyphs_from: str | None = None
    """A member of slots under head: digits. This one learns from images composed anew in every epoch,
    of digits that were cut from the training images and named by that member's readings and the sums."""
    teacher: Teacher | None = None
    """Other members whose probabilities of the training rows this one learns beside the labels."""
    freeze: bool = False
    """Keep the weights that `init_from` gives as they are, and train only the classifier."""

    @model_validator(mode="after")
    def _frozen_weights_come_from_somewhere(self) -> Member:
        if self.freeze and not self.init_from:
            raise ConfigError.at(
                "", "freeze keeps the weights of init_from", "name a member there or leave freeze out"
            )
        return self

    @model_validator(mode="after")
    def _composed_images_suffice(self) -> Member:
        if not self.glyphs_from:
            return self
        if self.head != "digits":
            raise ConfigError.at("", "glyphs_from teaches single digits", "set head: digits")
        without = ("init_from", "extra_train", "mixup", "cutmix", "view", "teacher")
        if any(getattr(self, key) for key in without) or self.sampling == "balanced":
            raise ConfigError.at(
                "", f"glyphs_from goes without {', '.join(without)} and sampling: balanced", "leave them out"
            )
        if self.augment and any(not family.columns for family in self.augment.families().values()):
            raise ConfigError.at("augment.albumentations", "goes without glyphs_from", "leave it out")
        if self.schedule.held_out_proportion:
            raise ConfigError.at(
                "", "glyphs_from leaves no rows to hold out", "let the schedule watch: training_loss"
            )
        return self

    @property
    def sources(self) -> dict[str, str]:
        """The members whose trainings of the same fold come first, each with the key that names it."""
        taught = dict.fromkeys(self.teacher.names if self.teacher else (), "teacher.member")
        keys = ("init_from", "glyphs_from")
        return taught | {name: key for key in keys if (name := getattr(self, key))}

    @property
    def learns_test_rows(self) -> bool:
        """Whether it trains on the test images too."""
        return self.teacher is not None and self.teacher.test_rows

    @property
    def weights_file(self) -> Path | None:
        """The file that the network's weights start from, where `model_args` names one."""
        return split_checkpoint_args(self.model_args)[1]


def split_checkpoint_args(args: dict[str, Any]) -> tuple[dict[str, Any], Path | None]:
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
