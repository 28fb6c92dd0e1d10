"""What is written beside a program, and inside it."""

from __future__ import annotations

from typing import Any

from softvote.ensembling.records import DecisionRecord
from softvote.ensembling.vote import Space
from softvote.storage.records import JsonRecord, key
from softvote.task import Task, TaskKind


class ImageRecord(JsonRecord):
    """The shape of one image.

    Attributes:
        value_range: as `competition.image` has it; None where images of 8 bits are taken.
        background: what transparent images are laid on.
    """

    channels: int
    height: int
    width: int
    value_range: list[Any] | None = None
    background: str = "white"


class SignatureRecord(JsonRecord):
    """What a program takes and gives.

    Attributes:
        classes: K labels, in the order of the probabilities' columns.
        addend: whether an integer 0..9 comes with each image.
        kind: of the task.
        target_sizes: of the task's targets, where there are several.
        decision: how probabilities become what is submitted, where one is kept beside the networks.
    """

    classes: list[str]
    image: ImageRecord
    addend: bool
    kind: TaskKind = "classes"
    target_sizes: list[int] = []
    decision: DecisionRecord | None = None

    @property
    def task(self) -> Task:
        """What is named. Hidden digits are not part of it: probabilities of their sums are given alone."""
        return Task(len(self.classes), None, self.addend, self.kind, tuple(self.target_sizes))


class NetworkRecord(JsonRecord):
    """One training in a program.

    Attributes:
        fold: name of its folder.
        shift: pixels of the test-time augmentation.
        views: how many views of an image it predicts from.
        trained_in: precision and device.
    """

    fold: str
    model: str
    head: str
    shift: int
    trained_in: str
    weights_sha256: str
    views: int = 1


class ProgramMemberRecord(JsonRecord):
    """One member in a program, and its weight in the vote."""

    name: str
    weight: float
    networks: list[NetworkRecord] = key("folds")


class ProgramRecord(JsonRecord):
    """`program.json`; a program itself carries all but the last three fields.

    Attributes:
        fingerprint: of what the program was made from.
        rule: of the vote; `none` for a member alone.
        versions: of softvote and torch.
        largest_difference: from the stored probabilities, by file name; and in how many `rows`.
        checksums: sha256 of the programs, in the order of `ExportFolder.programs`.
        how_to_call: lines of Python, by file name.
    """

    fingerprint: str = key("key", "")
    pipeline: str = ""
    voter: str = ""
    classes: list[str]
    image: ImageRecord
    addend: bool
    kind: TaskKind = "classes"
    target_sizes: list[int] = []
    decision: DecisionRecord | None = None
    precision: str = "float32"
    rule: str = "none"
    space: Space = "probability"
    members: list[ProgramMemberRecord] = []
    versions: dict[str, str] = {}
    largest_difference: dict[str, int | float] = key("largest_difference_from_test", {})
    checksums: list[str] = key("content", [])
    how_to_call: dict[str, list[str]] = {}
