"""The networks of a pipeline: member, head and image size put together, in one place."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from softvote import models
from softvote.errors import Problems, UserError
from softvote.heads import create_head
from softvote.pipeline import Pipeline


def create_network(pipeline: Pipeline, name: str) -> nn.Module:
    """The untrained network of a member.

    Raises:
        UserError: it cannot be built, or cannot take the competition's images.
    """
    member, competition = pipeline.members[name], pipeline.competition
    outputs = create_head(member.head, len(competition.classes)).num_outputs
    size = (competition.image.height, competition.image.width)
    return models.create_model(member.model, outputs, competition.image.channels, size, member.model_args)


def count_parameters(pipeline: Pipeline, names: Sequence[str]) -> dict[str, int]:
    """How many trainable values each member's network has.

    Raises:
        UserError: every network that cannot be built, one line each.
    """
    problems, counts = Problems(), dict[str, int]()
    for name in names:
        try:
            counts[name] = models.count_parameters(create_network(pipeline, name))
        except UserError as error:
            problems.add(f"members.{name}", str(error))
    problems.raise_any()
    return counts
