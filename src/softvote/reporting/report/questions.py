"""What is asked of an image: its class, or one class of each target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from softvote.task import LabelSpace


@dataclass(frozen=True, eq=False)
class Question:
    """One question, what is right, and what a voter answers.

    Attributes:
        name: of the target; empty where there is one question alone.
        classes: C names of possible answers.
        labels: int64 (n,), what is right, 0..C-1.
        guesses: int64 (n,), what is answered, likewise.
        probabilities: float32 (n, C).
    """

    name: str
    classes: Sequence[str]
    labels: NDArray[np.int64]
    guesses: NDArray[np.int64]
    probabilities: NDArray[np.float32]

    @property
    def confidence(self) -> NDArray[np.float32]:
        """The probability of each answer, float32 (n,)."""
        return np.asarray(np.take_along_axis(self.probabilities, self.guesses[:, None], axis=1)[:, 0])

    @property
    def right(self) -> NDArray[np.bool_]:
        """Which answers are right, bool (n,)."""
        return np.asarray(self.guesses == self.labels)

    def title(self, text: str) -> str:
        """A heading that says of which question it is, where there are several."""
        return f"{self.name}: {text}" if self.name else text


def list_questions(
    space: LabelSpace,
    probabilities: NDArray[np.float32],
    decided: NDArray[np.int64],
    labels: NDArray[np.int64],
) -> list[Question]:
    """The question, or one per target; none of tags, which are each asked of an image by themselves.

    Args:
        probabilities: float32 (n, K).
        decided: integers (n,) or (n, T), what is answered.
        labels: the same of what is right.
    """
    if space.task.kind == "tags":
        return []
    if space.task.is_single_label:
        return [Question("", space.names, labels, decided, probabilities)]
    return [
        Question(name, classes, labels[:, place], decided[:, place], probabilities[:, block])
        for place, ((name, classes), block) in enumerate(zip(space.targets, space.task.blocks, strict=True))
    ]
