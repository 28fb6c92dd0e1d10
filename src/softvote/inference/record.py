"""What a training leaves beside its weights: all that prediction needs, and what made them."""

from __future__ import annotations

from typing import Any

from softvote.storage.paths import FoldFolder
from softvote.storage.records import JsonRecord, key
from softvote.task import Task, TaskKind


class ExecutionRecord(JsonRecord):
    """How a network ran: the fields of `softvote.compute.precision.ComputeConfig`."""

    device: str
    precision: str
    memory_format: str
    probe: dict[str, float] = {}


class TrainingRecord(JsonRecord):
    """`recipe.json`: everything the weights were made with; written after them, so it marks them whole.

    Attributes:
        fingerprint: of `inputs`.
        member: the recipe, as its pipeline file says it, with every default.
        kind: of the task.
        target_sizes: of the task's targets, where there are several.
        image: (C, H, W).
        decoding: how values of image files become 0..255: keys of `competition.image`.
        mean: of the pixels of each channel, 0..255.
        std: the same.
        head: what the head measured on rows that the network was not trained on.
        device: the accelerator's name.
        images_per_epoch: how many the network saw in one.
        seconds: that the training took.
        threads: of this process.
        peak_memory_mib: of this process.
        versions: of softvote and torch, and the commit.
        weights_sha256: of the weights file.
        source_weights_sha256: of the weights that the training started from; None where it started from none.
        published_weights_sha256: of the file of published weights that the training started from, likewise.
        inputs: everything that decides the weights.
        weights_left_on: the machine that kept the weights, where results alone were brought here.
    """

    fingerprint: str = key("key", "")
    member: dict[str, Any]
    classes: list[str]
    hidden_digits: int | None = None
    addend: bool = False
    kind: TaskKind = "classes"
    target_sizes: list[int] = []
    image: tuple[int, int, int]
    decoding: dict[str, Any] = {}
    mean: list[float]
    std: list[float]
    head: dict[str, int | float] = {}
    execution: ExecutionRecord
    device: str = ""
    seed: int = 0
    images_per_epoch: int = key("images_an_epoch", 0)
    seconds: float = 0.0
    threads: int = 0
    peak_memory_mib: int = 0
    versions: dict[str, str] = {}
    weights_sha256: str = ""
    source_weights_sha256: str | None = None
    published_weights_sha256: str | None = None
    inputs: dict[str, Any] = key("identity", {})
    weights_left_on: str = ""

    @property
    def task(self) -> Task:
        """What the network names."""
        return Task(len(self.classes), self.hidden_digits, self.addend, self.kind, tuple(self.target_sizes))


def find_weights_machine(folder: FoldFolder, record: TrainingRecord) -> str:
    """The machine that kept a training's weights; empty where they are here."""
    return "" if folder.weights.is_file() else record.weights_left_on
