"""The network of a member: model, head and task put together, in one place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from softvote import models
from softvote.config.pipeline import Pipeline
from softvote.config.recipe import Member
from softvote.data.normalisation import By, Normalisation
from softvote.data.pixels import Pixels
from softvote.errors import ErrorCollector, UserError
from softvote.heads import HEADS, create_head
from softvote.heads.base import Head, HeadSpec
from softvote.models.grad_checkpointing import enable_grad_checkpointing
from softvote.task import LARGEST_ADDEND, Task


@dataclass(frozen=True)
class Network:
    """A model, and the head that reads its outputs.

    Where an addend comes along, most models see the image alone: their head names the value it shows,
    and the addend shifts that to the label. A model that takes the addend names the label itself.

    Attributes:
        model: float (B, C, H, W), and int64 addends (B,) where it takes them -> float (B, num_outputs).
        head: reads them.
        task: what is to be named.
    """

    model: nn.Module
    head: Head
    task: Task

    @property
    def takes_addend(self) -> bool:
        """Whether the model is called with addends, so that it names the label itself."""
        return models.takes_addend(self.model)

    def normalisation(self, images: Tensor | Pixels, by: By) -> Normalisation:
        """How images become its input: measured on training rows uint8 (N, C, H, W), or as timm knows it."""
        levels = models.published_levels(self.model, images.shape[1]) if by == "pretrained" else None
        return Normalisation(*levels, by) if levels else Normalisation.of(images, by)

    def outputs(self, images: Tensor, addends: Tensor | None) -> Tensor:
        """Normalised images float (B, C, H, W) and addends int64 (B,) -> float (B, num_outputs)."""
        outputs: Tensor = self.model(images, addends) if self.takes_addend else self.model(images)
        return outputs

    def count_right(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Count what the most probable names get right, on the device and without a wait.

        Args:
            outputs: float (B, num_outputs).
            targets: int64 (B,), (B, K) of tags or (B, T) of several targets, as the head's loss takes them.

        Returns:
            float32 scalar, 0..B: rows that are right; of tags and targets each row counts by the proportion
            of its tags or targets that are.
        """
        probabilities, blocks = self.head.probabilities(outputs), self.task.blocks
        if self.task.is_single_label:
            return (probabilities.argmax(1) == targets).sum().float()
        if not blocks:
            named = (probabilities >= 0.5).long()
        else:
            named = torch.stack([probabilities[:, block].argmax(1) for block in blocks], dim=1)
        return (named == targets).float().mean(1).sum()

    def probabilities(self, outputs: Tensor, addends: Tensor | None) -> Tensor:
        """float (B, num_outputs) and addends int64 (B,) -> probabilities of the labels, float32 (B, K)."""
        probabilities = self.head.probabilities(outputs)
        if addends is None or self.takes_addend:
            return probabilities
        padded = functional.pad(probabilities, (0, LARGEST_ADDEND))
        columns = torch.arange(self.task.num_classes, device=addends.device) - addends[:, None]
        # A negative column wraps round to the zeros of the padding.
        return padded.gather(1, columns % padded.shape[1])


def create_network(
    member: Member,
    task: Task,
    image: tuple[int, int, int],
    with_weights: bool = True,
    calibration: dict[str, float] | None = None,
    class_weights: NDArray[np.float32] | None = None,
    weights_folder: Path | None = None,
) -> Network:
    """A member's network, untrained.

    Args:
        task: what is to be named.
        image: channels, height and width.
        with_weights: False leaves out the published weights a member may start from.
        calibration: what its head once measured.
        class_weights: as `HeadSpec` has them, for training.
        weights_folder: where files of published weights are looked for before the hub is asked.

    Raises:
        UserError: it cannot be built, cannot take such images, or does not fit the task.
    """
    takes_addend = models.takes_addend(member.model)
    _refuse_misfits(member, task, takes_addend)
    num_values = task.num_classes if takes_addend else task.num_values
    spec = HeadSpec(
        num_values,
        task.hidden_digits,
        member.label_smoothing,
        calibration,
        task.target_sizes,
        member.loss,
        class_weights,
    )
    head = create_head(member.head, spec)
    channels, height, width = image
    args = member.model_args if with_weights else models.without_published_weights(member.model_args)
    size = (height, width)
    model = models.create_model(member.model, head.num_outputs, channels, size, args, weights_folder)
    _refuse_keys_of_timm(member, model, channels)
    if member.grad_checkpointing:
        enable_grad_checkpointing(model, member.model)
    return Network(model, head, task)


def _refuse_misfits(member: Member, task: Task, takes_addend: bool) -> None:
    if takes_addend and not task.addend:
        raise UserError.at(
            f"model {member.model}",
            "needs an addend with each image, and the competition has none",
            "choose another",
        )
    if takes_addend and HEADS[member.head].needs_hidden_digits:
        raise UserError.at(
            f"model {member.model}",
            f"adds the addend itself, so head: {member.head} finds no digits in its output",
            "use softmax or regression",
        )


def _refuse_keys_of_timm(member: Member, model: nn.Module, channels: int) -> None:
    """Refuse what asks for something that timm knows of its own networks."""
    problems = ErrorCollector()
    if member.normalise == "pretrained" and models.published_levels(model, channels) is None:
        problems.add("normalise", f"pretrained is for networks of timm, not {member.model}", "use dataset")
    if member.layer_decay < 1 and not hasattr(model, "group_matcher"):
        problems.add("layer_decay", f"is for networks of timm, not {member.model}", "leave it out")
    problems.raise_any()


def _refuse_blind(name: str, pipeline: Pipeline, shape: tuple[int, int, int]) -> None:
    """Refuse to learn from the glyphs of a member that reads no digits, or does not say where."""
    member = pipeline.members[name]
    network = create_network(member, pipeline.competition.task, shape, with_weights=False)
    if member.head != "digits" or not hasattr(network.model, "attention"):
        raise UserError.at(
            "glyphs_from",
            f"{name} does not say which digits stand where",
            "name a network of slots with head: digits",
        )


def _refuse_teachers(
    member: Member, network: Network, pipeline: Pipeline, shape: tuple[int, int, int]
) -> None:
    """Refuse to learn from whoever names something else, or is calibrated on rows that validate."""
    for name in member.teacher.names if member.teacher else ():
        teacher = create_network(pipeline.members[name], pipeline.competition.task, shape, with_weights=False)
        if network.takes_addend or teacher.takes_addend:
            what = f"{name} and its student must name what an image shows, without an addend"
            raise UserError.at("teacher", what, "choose networks that take none")
        if teacher.head.needs_calibration:
            what = f"head: {pipeline.members[name].head} of {name} is measured on rows that validate"
            raise UserError.at("teacher", f"{what}, whose labels a student must not hear of", "name another")


def build_networks(
    pipeline: Pipeline, names: Sequence[str], with_weights: bool, weights_folder: Path | None = None
) -> dict[str, Network]:
    """Each member's network, untrained and frozen as it will learn; arguments as for `create_network`.

    Raises:
        UserError: every network that cannot be built, does not fit the one it starts from, or is left
            with nothing to learn, one line each.
    """
    problems, networks = ErrorCollector(), dict[str, Network]()
    image, task = pipeline.competition.image, pipeline.competition.task
    shape = (image.channels, image.height, image.width)
    for name in names:
        member = pipeline.members[name]
        try:
            network = create_network(member, task, shape, with_weights, weights_folder=weights_folder)
            if member.refit and network.head.needs_calibration:
                what = f"head: {member.head} is measured on rows that a network was not trained on"
                raise UserError.at("refit", f"{what}, and a refit leaves none", "set refit: false")
            if member.init_from:
                source = create_network(pipeline.members[member.init_from], task, shape, with_weights=False)
                models.load_backbone(network.model, source.model.state_dict())
            if member.glyphs_from:
                _refuse_blind(member.glyphs_from, pipeline, shape)
            _refuse_teachers(member, network, pipeline, shape)
            if member.freeze:
                models.freeze_backbone(network.model)
            networks[name] = network
        except UserError as error:
            problems.extend(error.within(f"members.{name}").problems)
    problems.raise_any()
    return networks
