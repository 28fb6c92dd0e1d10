"""Teaching: rows with the probabilities that other networks give them (Hinton, Vinyals and Dean 2015).

A fold's student is taught by networks of the same fold, which were trained on the same rows: nothing that it
learns from has seen a label of the rows that validate. What teachers say of rows they were trained on is
surer than what they would say of others. Out-of-fold probabilities would be less sure, but every network that
gives those of a fold's training rows was trained with the labels of the rows that validate there, and the
student would hear of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from softvote.config.teacher import Teacher

if TYPE_CHECKING:
    from torch import Tensor

    from softvote.data.pixels import Pixels
    from softvote.heads import Head
    from softvote.heads.base import TeachableHead
    from softvote.inference.predictor import Predictor
    from softvote.training.rows import SoftTargets, Split

TEACHING_VERSION = 1
"""Bumped whenever the same teachers give other soft targets."""


def teach(data: Split, teachers: Sequence[Predictor], test_rows: int) -> Split:
    """The rows with what teachers say of them.

    Args:
        teachers: at least one; of several the mean counts.
        test_rows: how many of the last rows have no label; theirs becomes what is most probable.
    """
    import torch

    from softvote.training.rows import SoftTargets

    images = cast("Pixels", data.selected)  # where they are stored: none is on a device yet
    added = reduce(np.add, (teacher.probabilities(images) for teacher in teachers))  # two are held at most
    found: NDArray[np.float32] = np.asarray(added / np.float32(len(teachers)))
    count = len(data.rows)
    labelled = torch.arange(count) < count - test_rows
    labels = data.image_labels.clone()
    labels[~labelled] = torch.from_numpy(teachers[0].network.task.name(found[count - test_rows :]))
    return replace(data, image_labels=labels, soft=SoftTargets(torch.from_numpy(found), labelled))


def any_soft_targets(data: Split, num_values: int) -> SoftTargets:
    """Stand-ins, for where it matters only how long learning from a teacher takes."""
    import torch

    from softvote.training.rows import SoftTargets

    count = len(data.rows)
    return SoftTargets(torch.full((count, num_values), 1 / num_values), torch.ones(count, dtype=torch.bool))


def mean_taught_loss(head: Head, outputs: Tensor, targets: Tensor, batch: Split, teacher: Teacher) -> Tensor:
    """The mean over rows of what labels and teacher say; where there is no label, the teacher alone.

    Args:
        head: that takes a teacher.
        outputs: float (B, num_outputs).
        targets: int64 (B, ...), as the head's loss takes them.
        batch: the rows, with soft targets.
        teacher: how much it counts.
    """
    soft = batch.soft
    assert soft is not None, "rows of a member with a teacher are taught before they are fed"
    own = head.loss(outputs, targets, batch.digits, reduction="none")
    other = cast("TeachableHead", head).soft_loss(outputs, soft.probabilities, teacher.temperature)
    share = soft.labelled * (1 - teacher.weight)
    return (share * own + (1 - share) * other).mean()
