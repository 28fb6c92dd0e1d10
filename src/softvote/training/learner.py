"""A network that learns, one batch after the other."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn

from softvote import models
from softvote.compute.device import random_state, set_random_state
from softvote.compute.draws import Rows, Seed, draw_uniforms
from softvote.compute.precision import ComputeConfig
from softvote.config.recipe import Member
from softvote.data.normalisation import Normalisation
from softvote.inference.network import Network
from softvote.inference.views import apply_view, with_view
from softvote.models.grad_checkpointing import keep_statistics
from softvote.progress import note
from softvote.seeds import derive_seed
from softvote.task import LARGEST_ADDEND
from softvote.training.augment import create_device_augmenter, create_transform, stays_on_device
from softvote.training.balance import draw_balanced, row_weights
from softvote.training.batches import SeededTransform
from softvote.training.cuda_graphs import StepGraphs, create_recorder
from softvote.training.data_parallel import Alone
from softvote.training.loss_scaling import LossScaler
from softvote.training.mixing import Mixing, draw_mixing
from softvote.training.optim import LearningRate, create_optimizer
from softvote.training.parts import micro_batches
from softvote.training.rows import Split
from softvote.training.teaching import mean_taught_loss
from softvote.words import counted


class Learner:
    """A network, and all that changes with it from step to step.

    Attributes:
        label: what messages call the training; there from `start` on, as the next.
        rate: moves the learning rate.
        graphs: take the steps where the device has them; None elsewhere.
        steps: how many were taken.
    """

    drawn: ClassVar[tuple[str, ...]] = ("augment", "addends", "cutmix")
    """Purposes for which numbers are drawn in a step, each by a seed of its own in every epoch."""

    label: str
    rate: LearningRate

    def __init__(
        self,
        member: Member,
        network: Network,
        compute_config: ComputeConfig,
        normalisation: Normalisation,
        seed: int,
    ) -> None:
        self.member, self.network = member, network
        self.compute_config, self.normalisation, self.seed = compute_config, normalisation, seed
        self.to_training_mode()
        self.optimizer = create_optimizer(
            member.optimizer, network.model, compute_config.device, member.layer_decay, member.decay_norms
        )
        self.scaler = LossScaler(compute_config.device, enabled=compute_config.precision == "fp16")
        self.average = ModelEmaV3(network.model, decay=member.ema, use_warmup=True) if member.ema else None
        self.augment = with_view(create_device_augmenter(member.augment), member.view, at_random=True)
        self.identity = with_view(create_device_augmenter(None), member.view, at_random=False)
        self.graphs: StepGraphs | None = None
        self.steps = 0
        self.join(Alone())

    def join(self, group: Alone) -> None:
        """Be one of the processes of a group, before the first step."""
        self.group, self.forward = group, group.forward_of(self.network)

    @property
    def predictor(self) -> nn.Module:
        """The network that predicts: the moving average where there is one."""
        return self.network.model if self.average is None else self.average.module

    def prepare(self, data: Split) -> Split:
        """Bring rows to the device, as `step` and `mean_loss` take them."""
        return replace(data.to(self.compute_config.device), resampled=self.member.sampling == "balanced")

    def transform(self, epoch: int) -> SeededTransform | None:
        """What happens to images on the processor in an epoch, from 0, before a step is given them."""
        transform = create_transform(self.member.augment) if self.is_augmented(epoch) else None
        return transform and SeededTransform(transform, derive_seed(self.seed, "augment", epoch))

    def order(self, epoch: int, data: Split) -> NDArray[np.int64]:
        """What an epoch, from 0, feeds, in its order: int64 (n,), positions in the data for `step`."""
        if data.resampled:
            weights = row_weights(self.network.task, data.image_labels.cpu().numpy())
            return draw_balanced(weights, self.seed, epoch)
        return np.random.default_rng(derive_seed(self.seed, "order", epoch)).permutation(len(data.rows))

    def start(self, steps: int, label: str) -> None:
        """Begin a training of so many steps; messages call it by its label."""
        self.label = label
        self.rate = LearningRate(self.member.schedule, self.optimizer, steps)
        self.graphs = self.create_graphs(label)

    def finish(self) -> None:
        """Call when the training ended, before its network predicts."""
        if (skipped := self.scaler.skipped) and self.group.rank == 0:
            what = f"{skipped} of {counted(self.steps, 'step was', 'steps were')} skipped"
            why = "because gradients overflowed in fp16"
            note(f"{self.label}: {what}, {why}; a few are usual while the scale of the loss is found")

    def create_graphs(self, label: str) -> StepGraphs | None:
        """What takes the steps on a device that computes apart from the processor; None elsewhere.

        Nor are steps recorded that compute activations twice, which asks the device for its random state, or
        that several processes take together.
        """
        device, member = self.compute_config.device, self.member
        if device != "cuda" or not stays_on_device(member.augment):
            return None
        if member.grad_checkpointing or self.group.size > 1:
            return None
        return StepGraphs(torch.device(device), self.optimizer, create_recorder(device), label)

    def is_augmented(self, epoch: int) -> bool:
        """Whether images of this epoch, from 0, are augmented."""
        return epoch < self.member.epochs - self.member.no_aug_epochs

    def state_dict(self) -> dict[str, Any]:
        """All that another learner of the same training needs to go on to the same bits."""
        return {
            "execution": self.compute_config.to_json(),
            "steps": self.steps,
            "model": self.network.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rate": self.rate.state(),
            "average": None if self.average is None else self.average.state_dict(),
            "scaler": self.scaler.state_dict(),
            "random": random_state(self.compute_config.device),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave; call after `start`."""
        self.network.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.rate.restore(state["rate"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        if state.get("scaler"):  # which an older state lacks, as all do that need none
            self.scaler.load_state_dict(state["scaler"])
        self.steps = state["steps"]
        set_random_state(state["random"])

    def to_training_mode(self) -> None:
        """Let the network behave as steps need it, after something predicted with it."""
        self.network.model.train()
        if self.member.freeze:  # statistics of batch norm are weights too, and dropout would waver
            models.freeze_backbone(self.network.model)

    def step(self, epoch: int, number: int, data: Split, which: Rows, batch: int | None = None) -> Tensor:
        """Take one optimiser step.

        Args:
            epoch: from 0.
            number: of the step in its epoch, from 0.
            data: as `prepare` gave it.
            which: int64 (B,), positions in the data, as `order` gives them.
            batch: rows in the shares of all processes; if omitted, these are all.

        Returns:
            float32 (2,) on the device: loss and right answers, as `Network.count_right` counts them, summed
            over the batch.
        """
        mixing = draw_mixing(self.member, self.seed, epoch, number) if self.is_augmented(epoch) else None
        if self.group.rank:  # dropout is drawn for other rows than those of the first process
            torch.manual_seed(derive_seed(self.seed, f"process {self.group.rank}", epoch, number))
        if self.graphs is None:
            totals = self._gradients(epoch, data, which, mixing, batch)
            self._update()
        else:
            totals = self._graph_step(self.graphs, epoch, data, which, mixing)
        self.rate.end_step()
        self.steps += 1
        if self.average is not None:
            self.average.update(self.network.model, step=self.steps)
        return totals

    def _graph_step(
        self, graphs: StepGraphs, epoch: int, data: Split, which: Rows, mixing: Mixing | None
    ) -> Tensor:
        """The same, of which as much is recorded as reads all that changes from memory."""
        # Optimisers take a momentum for a number that stays, and a skipped step is none that was recorded.
        whole = not (self.rate.moves_momentum or self.scaler.is_enabled())

        def step(which: Tensor, share_in_memory: Tensor) -> Tensor:
            in_memory = replace(mixing, share=share_in_memory) if mixing else None
            totals = self._gradients(epoch, data, which, in_memory)
            if whole:
                with graphs.rates_in_memory():
                    self._update()
            return totals

        for what in self.drawn:
            self._seed(what, epoch)
        assert isinstance(which, Tensor)
        kind, share = (mixing.kind, float(mixing.share)) if mixing else (None, 1.0)
        totals = graphs.take((self.is_augmented(epoch), kind), which, share, step)
        if not whole:
            self._update()
        return totals

    def _gradients(
        self, epoch: int, data: Split, which: Rows, mixing: Mixing | None, batch: int | None = None
    ) -> Tensor:
        """The gradients of a batch, and its totals as `step` gives them."""
        self.optimizer.zero_grad(set_to_none=True)
        totals = list[Tensor]()
        parts = micro_batches(which, self.member.micro_batch)
        for number, part in enumerate(parts, 1):
            with self.group.collecting(last=number == len(parts)):
                loss, outputs, targets = self._forward(epoch, data.take(part), mixing)
                self._backward(loss, len(part) / (batch or len(which)))
            right = self.network.count_right(outputs.detach(), targets)
            totals.append(torch.stack([loss.detach() * len(part), right]))
        return self.group.total(sum(totals[1:], totals[0]))

    def _backward(self, loss: Tensor, proportion: float) -> None:
        """Add the gradients of the mean loss of some rows, this proportion of their batch."""
        weight = proportion * self.group.size  # whose gradients are averaged over processes
        if weight != 1:
            loss = loss * weight
        with keep_statistics(self.network.model, self.member.grad_checkpointing):
            self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

    def _update(self) -> None:
        """Take the optimiser's step with the gradients that are there."""
        if self.member.clip_grad:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.network.model.parameters(), self.member.clip_grad)
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def _forward(self, epoch: int, batch: Split, mixing: Mixing | None) -> tuple[Tensor, Tensor, Tensor]:
        """The loss of a batch, the outputs, and what is right, int64 (B, ...)."""
        images, addends = self._batch(epoch, batch.images, batch.rows), self._addends(epoch, batch)
        targets = _targets(batch.image_labels, addends)
        if mixing is None:
            outputs = self._outputs(images, addends)
            return self._loss(outputs, addends, batch), outputs, targets
        images, mixing = mixing.mix(images, batch.rows, self._seed("cutmix", epoch))
        outputs = self._outputs(images, addends)
        loss = mixing.mix_losses(
            self._loss(outputs, addends, batch), self._loss(outputs, addends, batch.flip_targets())
        )
        return loss, outputs, mixing.of_larger_part(targets)

    def _seed(self, what: str, epoch: int) -> Seed:
        """The seed of all that is drawn for one purpose in an epoch."""
        seed = derive_seed(self.seed, what, epoch)
        return seed if self.graphs is None else self.graphs.seed(what, seed)

    def _outputs(self, images: Tensor, addends: Tensor | None) -> Tensor:
        with self.compute_config.autocast():
            return self.forward(self.compute_config.to_memory_format(images), addends)

    def _loss(self, outputs: Tensor, addends: Tensor | None, batch: Split) -> Tensor:
        """The mean loss of a batch, of which the labels, digits and soft targets are read."""
        head, targets = self.network.head, _targets(batch.image_labels, addends)
        if batch.soft is None or self.member.teacher is None:
            return head.loss(outputs, targets, batch.digits)
        return mean_taught_loss(head, outputs, targets, batch, self.member.teacher)

    def _addends(self, epoch: int, data: Split) -> Tensor | None:
        """Integers drawn anew for each image in each epoch, int64 (B,), where the network takes them."""
        if not self.network.takes_addend:
            return None
        drawn = draw_uniforms(self._seed("addends", epoch), data.rows, 1, data.images.device)[:, 0]
        return (drawn * (LARGEST_ADDEND + 1)).long()

    def _batch(self, epoch: int, images: Tensor, rows: Rows) -> Tensor:
        """uint8 (B, C, H, W) -> float32, augmented where this epoch is, normalised."""
        augment = self.augment if self.is_augmented(epoch) else self.identity
        return self.normalisation(augment(images, rows, self._seed("augment", epoch)))

    @torch.no_grad()
    def mean_loss(self, data: Split) -> float:
        """Mean loss on rows that are not fed, by the plain weights, without augmentation."""
        self.network.model.eval()
        total = 0.0
        for which in np.array_split(np.arange(len(data.rows)), math.ceil(len(data.rows) / 1000)):
            batch = data.take(which)
            addends = self._addends(0, batch)  # the same each time
            outputs = self._outputs(self._identity(batch.images), addends)
            total += float(self._loss(outputs, addends, batch)) * len(which)
        self.to_training_mode()
        return self.group.agree(total / len(data.rows))

    def _identity(self, images: Tensor) -> Tensor:
        """uint8 (B, C, H, W) -> float32 as prediction sees it, normalised."""
        return self.normalisation(apply_view(self.member.view, images.float()))


def _targets(image_labels: Tensor, addends: Tensor | None) -> Tensor:
    """What the head is to name: what the images show, or the labels where the network was given addends."""
    return image_labels if addends is None else image_labels + addends
