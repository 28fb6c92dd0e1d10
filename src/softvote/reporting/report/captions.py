"""What stands under a picture: what is right, and what was answered."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from softvote.task import LabelSpace

_MOST_NAMES = 6


def describe_answers(
    space: LabelSpace,
    label: NDArray[np.int64],
    answer: NDArray[np.int64],
    probabilities: NDArray[np.float32],
) -> str:
    """What is right of an image and what was answered, a few lines.

    Args:
        label: of one row, as labels have it: () of classes, (K,) of tags, (T,) of targets.
        answer: likewise.
        probabilities: float32 (K,).
    """
    if space.task.kind == "tags":
        return _describe_tags(space.names, label > 0, answer > 0, probabilities)
    if space.task.is_single_label:
        return f"label {space.names[int(label)]}, answer {space.names[int(answer)]}"
    lines = []
    for place, (name, classes) in enumerate(space.targets):
        true, said = int(label[place]), int(answer[place])
        share = probabilities[space.task.blocks[place]][said]
        if true != said:
            lines.append(f"{name}: label {classes[true]}, answer {classes[said]} at {share:.0%}")
    return "\n".join(lines[:_MOST_NAMES]) or "every target right"


def _describe_tags(
    names: tuple[str, ...],
    there: NDArray[np.bool_],
    named: NDArray[np.bool_],
    probabilities: NDArray[np.float32],
) -> str:
    lines = [f"has {_join([names[k] for k in np.flatnonzero(there)]) or 'no tag'}"]
    for word, wrong in (("wrongly", named & ~there), ("missed", there & ~named)):
        if wrong.any():
            shown = [f"{names[k]} {probabilities[k]:.0%}" for k in np.flatnonzero(wrong)]
            lines.append(f"{word} {_join(shown)}")
    return "\n".join(lines if len(lines) > 1 else [*lines, "every tag right"])


def _join(names: list[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
