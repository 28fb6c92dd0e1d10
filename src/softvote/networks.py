"""The network of a member: recipe, head and image size put together, in one place."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from softvote import models
from softvote.errors import Problems, UserError
from softvote.heads import Head, create_head
from softvote.pipeline import Pipeline
from softvote.recipe import Member


def create_network(
    member: Member, num_classes: int, image: tuple[int, int, int], with_weights: bool = True
) -> tuple[nn.Module, Head]:
    """A member's network, untrained, and the head that reads its outputs.

    Args:
        num_classes: K.
        image: channels, height and width.
        with_weights: False leaves out the published weights a member may start from.

    Raises:
        UserError: it cannot be built, or cannot take such images.
    """
    head = create_head(member.head, num_classes, member.label_smoothing)
    channels, height, width = image
    args = member.model_args if with_weights else member.model_args | {"pretrained": False}
    return models.create_model(member.model, head.num_outputs, channels, (height, width), args), head


def count_parameters(pipeline: Pipeline, names: Sequence[str], with_weights: bool) -> dict[str, int]:
    """How many trainable values each member's network has; `with_weights` as for `create_network`.

    Raises:
        UserError: every network that cannot be built, one line each.
    """
    problems, counts = Problems(), dict[str, int]()
    image, classes = pipeline.competition.image, pipeline.competition.classes
    for name in names:
        try:
            shape = (image.channels, image.height, image.width)
            network, _ = create_network(pipeline.members[name], len(classes), shape, with_weights)
            counts[name] = models.count_parameters(network)
        except UserError as error:
            problems.add(f"members.{name}", str(error))
    problems.raise_any()
    return counts
