"""The schema of a pipeline file: every fact a run needs, each with its default and its limits.

`softvote.pipeline_file` reads such a file; `softvote schema` prints these classes as JSON Schema.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator, model_validator

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")

Fraction = Annotated[float, Field(ge=0, le=1)]
BelowOne = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Strict(BaseModel):
    """Knows its keys, refuses others, and never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


# ---------------------------------------------------------------- the competition


class PixelCsv(Strict):
    """One line an image: pixels row by row, a label column anywhere, perhaps an id column."""

    format: Literal["pixel_csv"]
    train: str = "train.csv"
    test: str = "test.csv"
    label: str = "label"
    """The label's column in the train file."""
    id: str | None = None
    """The id's column, where both files have one; else test rows are in sample_submission's order."""


class ImageFolder(Strict):
    """A CSV of ids and labels beside folders of image files."""

    format: Literal["image_folder"]
    train: str = "train.csv"
    train_images: str = "train"
    test_images: str = "test"
    id: str = "id"
    """The column that names the image file, with or without its suffix."""
    label: str = "label"
    suffix: str = ""
    """Added to ids that are written without it, such as .png."""


class NpyArrays(Strict):
    """uint8 arrays (N, H, W) or (N, H, W, C) and integer labels (N,); several files are joined."""

    format: Literal["npy"]
    train: list[str] = ["train.npy"]
    train_labels: list[str] = ["train_labels.npy"]
    test: list[str] = ["test.npy"]


Files = Annotated[PixelCsv | ImageFolder | NpyArrays, Field(discriminator="format")]


class Image(Strict):
    """What one image looks like."""

    height: Annotated[int, Field(ge=1)]
    width: Annotated[int, Field(ge=1)]
    channels: Literal[1, 3] = 1
    resize: bool = False
    """Image files of other sizes are brought to this one instead of refused."""


class LabelRange(Strict):
    """Integer labels from first to last, both included."""

    first: int
    last: int

    @model_validator(mode="after")
    def _ascending(self) -> LabelRange:
        if self.last <= self.first:
            raise ValueError(f"last ({self.last}) must be above first ({self.first})")
        return self


def _kind_of_labels(labels: Any) -> str:
    return "names" if isinstance(labels, list) else "range"


Labels = Annotated[
    Annotated[LabelRange, Tag("range")] | Annotated[list[str], Field(min_length=2), Tag("names")],
    Discriminator(_kind_of_labels),
]


class Competition(Strict):
    """The facts of a competition; nothing else in the program asks which one it is in."""

    name: str
    """Also its folder under input/."""
    files: Files
    image: Image
    labels: Labels
    """A range of integers, or the names of the classes."""
    metric: Literal["accuracy"] = "accuracy"
    sample_submission: str = "sample_submission.csv"
    """Its header, ids and their order are what a submission must have."""
    solution: str | None = None
    """The true labels of the test rows in the same form, where they are known (a demo)."""

    @property
    def classes(self) -> list[str]:
        """Every label as it is written in files, in the order of the probabilities' columns."""
        if isinstance(self.labels, list):
            return self.labels
        return [str(label) for label in range(self.labels.first, self.labels.last + 1)]

    @field_validator("name")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        return checked_name(name)

    @field_validator("labels", mode="before")
    @classmethod
    def _class_names_are_text(cls, labels: Any) -> Any:
        # YAML reads [0, 1] as integers and [yes, no] as booleans; the first is harmless.
        if not isinstance(labels, list):
            return labels
        for label in labels:
            if isinstance(label, bool):
                raise ValueError(
                    "YAML reads yes, no, on and off as true and false: write class names in quotes"
                )
        names = [str(label) for label in labels]
        if len(set(names)) < len(names):
            raise ValueError("a class is named twice")
        return names


# ---------------------------------------------------------------- folds


class Folds(Strict):
    """Stratified k-fold."""

    count: Annotated[int, Field(ge=2)] = 5
    train: Annotated[int, Field(ge=1)] | None = None
    """Only the first so many folds are trained and scored; left out, all are."""
    near_identical: NonNegative = 4.0
    """Images whose pixels differ by at most this root mean square (of 0..255) share a fold."""

    @property
    def trained(self) -> list[int]:
        return list(range(min(self.train or self.count, self.count)))


# ---------------------------------------------------------------- how a member is trained


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


class Recipe(Strict):
    """How a member is trained; the last epoch counts."""

    head: Literal["softmax"] = "softmax"
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


class Member(Recipe):
    """One network that votes."""

    model: str
    """A network of softvote.models or any timm backbone."""
    model_args: dict[str, Any] = {}
    """Further arguments of the network, as timm names them."""


# ---------------------------------------------------------------- the whole


class Ensemble(Strict):
    """Who votes, and how."""

    name: str = "vote"
    members: Annotated[list[str], Field(min_length=1)] | None = None
    """Left out, every member votes."""
    rule: Literal["auto", "mean", "mean_logits", "log_loss", "greedy"] = "auto"
    """auto keeps the mean unless another rule is better by more than two standard errors."""

    @field_validator("name")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        return checked_name(name)

    @field_validator("members")
    @classmethod
    def _once_each(cls, members: list[str] | None) -> list[str] | None:
        if members and len(set(members)) < len(members):
            raise ValueError("a member is named twice")
        return members


class Pipeline(Strict):
    """A pipeline file."""

    extends: str | None = None
    """Another pipeline file, by its path from this one's folder without .yaml; null for a key drops it."""
    competition: Competition
    seed: Annotated[int, Field(ge=0)] = 0
    folds: Folds = Folds()
    defaults: Recipe = Recipe()
    """What every member starts from."""
    members: Annotated[dict[str, Member], Field(min_length=1)]
    ensemble: Ensemble = Ensemble()

    @field_validator("members")
    @classmethod
    def _names(cls, members: dict[str, Member]) -> dict[str, Member]:
        for name in members:
            checked_name(name)
        return members

    @model_validator(mode="after")
    def _ensemble_is_of_members(self) -> Pipeline:
        from softvote.errors import one_of

        for name in self.voters:
            if name not in self.members:
                raise ValueError(f"ensemble.members: no member '{name}'; {one_of(list(self.members), name)}")
        if self.ensemble.name in self.members:
            raise ValueError(f"ensemble.name: '{self.ensemble.name}' is a member's name; choose another")
        return self

    @property
    def voters(self) -> list[str]:
        """Names of the members that vote, in their order."""
        return list(self.ensemble.members or self.members)


def checked_name(name: str) -> str:
    """A name that can be a folder everywhere.

    Raises:
        ValueError: it cannot.
    """
    if not NAME.fullmatch(name):
        raise ValueError(f"'{name}' is no name: use letters, digits, - and _")
    return name


def json_schema() -> dict[str, Any]:
    """JSON Schema of a pipeline file, for editors.

    Nothing is required there, because a file may take it from the one it extends.
    """
    schema = Pipeline.model_json_schema()
    for part in [schema, *schema["$defs"].values()]:
        part.pop("required", None)
    return schema
