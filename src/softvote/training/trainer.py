"""The state of one training, from step to step."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn

from softvote import models
from softvote.compute.device import random_state, set_random_state, synchronize, to_device
from softvote.compute.draws import Rows, Seed, draw_uniforms
from softvote.compute.precision import ComputeConfig
from softvote.config.recipe import Member
from softvote.data.normalisation import Normalisation
from softvote.errors import UserError
from softvote.inference.network import Network
from softvote.inference.views import apply_view, with_view
from softvote.progress import TrainingProgress
from softvote.seeds import derive_seed
from softvote.task import LARGEST_ADDEND
from softvote.training.augment import create_augmenter, stays_on_device
from softvote.training.checkpoint import Checkpoints
from softvote.training.cuda_graphs import StepGraphs, create_recorder
from softvote.training.optim import LearningRate, create_optimizer
from softvote.training.rows import Split

_FIGURES_AN_EPOCH = 20  # how often loss and accuracy are fetched from the device where somebody looks


@dataclass
class EpochState:
    """The epoch a training is in; it may have begun in a process that is gone.

    Attributes:
        number: from 0.
        learning_rate: at its first step.
        totals: float32 (2,) on the device, loss and right answers summed over the rows fed.
        batches: how many were fed.
        rows: how many were in them.
        seconds: spent on it.
    """

    number: int
    learning_rate: float
    totals: Tensor
    batches: int = 0
    rows: int = 0
    seconds: float = 0.0


class Trainer:
    """The state of one training: what changes from step to step."""

    drawn = ("augment", "addends")
    """Purposes for which numbers are drawn in a step, each by a seed of its own in every epoch."""

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
        self._to_training_mode()
        self.optimizer = create_optimizer(member.optimizer, network.model, compute_config.device)
        self.average = ModelEmaV3(network.model, decay=member.ema, use_warmup=True) if member.ema else None
        self.augment = with_view(create_augmenter(member.augment), member.view, at_random=True)
        self.identity = with_view(create_augmenter(None), member.view, at_random=False)
        self.graphs: StepGraphs | None = None
        self.steps = 0
        self.log: list[dict[str, Any]] = []

    @property
    def predictor(self) -> nn.Module:
        """The network that predicts: the moving average where there is one."""
        return self.network.model if self.average is None else self.average.module

    def _to_training_mode(self) -> None:
        self.network.model.train()
        if self.member.freeze:  # statistics of batch norm are weights too, and dropout would waver
            models.freeze_backbone(self.network.model)

    def run(
        self,
        data: Split,
        watched: Split | None,
        label: str,
        checkpoints: Checkpoints | None = None,
        state: dict[str, Any] | None = None,
    ) -> None:
        """All epochs, or those that are left after `state`."""
        data = data.to(self.compute_config.device)
        watched = None if watched is None else watched.to(self.compute_config.device)
        # Batch norm cannot learn from a batch of one row.
        batches = max(1, min(math.ceil(len(data.rows) / self.member.batch_size), len(data.rows) // 2))
        self.rate = LearningRate(self.member.schedule, self.optimizer, self.member.epochs * batches)
        self.checkpoints, self.graphs = checkpoints, self._create_graphs(label)
        begun = None if state is None else self._restore(state)
        done = len(self.log) + (begun.batches / batches if begun else 0)
        progress = TrainingProgress(label, self.member.epochs, len(data.rows), done)
        try:
            while len(self.log) < self.member.epochs:
                self._epoch(begun or self._begin(len(self.log)), data, watched, batches, progress)
                begun = None
        finally:
            progress.close()

    def _create_graphs(self, label: str) -> StepGraphs | None:
        """What takes the steps on a device that computes apart from the processor; None elsewhere."""
        device = self.compute_config.device
        if device != "cuda" or not stays_on_device(self.member.augment):
            return None
        return StepGraphs(torch.device(device), self.optimizer, create_recorder(device), label)

    def _begin(self, number: int) -> EpochState:
        torch.manual_seed(derive_seed(self.seed, "epoch", number))
        return EpochState(number, self.rate.now, torch.zeros(2, device=self.compute_config.device))

    def _epoch(
        self,
        epoch: EpochState,
        data: Split,
        watched: Split | None,
        batches: int,
        progress: TrainingProgress,
    ) -> None:
        self._feed(epoch, data, batches, progress)
        loss, accuracy = self._figures(epoch, progress.label)
        watched_loss = loss if watched is None else self._loss_on(watched)
        self.rate.epoch_ended(watched_loss)
        images_per_second = len(data.rows) / epoch.seconds
        self.log.append(
            {
                "epoch": epoch.number + 1,
                "learning_rate": epoch.learning_rate,
                "augmented": self._augmented(epoch.number),
                "loss": loss,
                "accuracy": accuracy,
                "watched_loss": watched_loss,
                "seconds": epoch.seconds,
                "images_per_second": images_per_second,
            }
        )
        progress.epoch_ended(epoch.number, loss, accuracy, images_per_second)

    def _feed(self, epoch: EpochState, data: Split, batches: int, progress: TrainingProgress) -> None:
        """Feed each row that the epoch has not seen, in batches of sizes that differ by one at most."""
        order = np.random.default_rng(derive_seed(self.seed, "order", epoch.number)).permutation(
            len(data.rows)
        )
        started, look_every = time.perf_counter() - epoch.seconds, max(1, batches // _FIGURES_AN_EPOCH)
        for number, which in list(enumerate(self._in_batches(order, batches)))[epoch.batches :]:
            epoch.totals += self._step(epoch.number, number, data, which)
            epoch.batches, epoch.rows = number + 1, epoch.rows + len(which)
            epoch.seconds = time.perf_counter() - started
            figures = None
            if progress.wants_figures and number % look_every == 0:  # each look waits for the device
                loss, accuracy = self._figures(epoch, progress.label)
                figures = (
                    f"epoch {epoch.number + 1}/{self.member.epochs} loss {loss:.4f} accuracy {accuracy:.2%}"
                )
            progress.batch_ended(len(which), figures)
            self._keep(epoch, progress.label)
        synchronize(self.compute_config.device)  # which may be some steps behind
        epoch.seconds = time.perf_counter() - started

    def _in_batches(self, order: NDArray[np.int64], batches: int) -> Sequence[Rows]:
        """Where the rows of each step stand; with graphs on the device, all in one copy."""
        if self.graphs is None:
            return np.array_split(order, batches)
        return to_device(torch.from_numpy(order), self.graphs.device).tensor_split(batches)

    def _figures(self, epoch: EpochState, label: str) -> tuple[float, float]:
        """Mean loss and accuracy so far.

        Raises:
            UserError: the loss is no number.
        """
        loss, accuracy = (epoch.totals / epoch.rows).tolist()
        if not math.isfinite(loss):
            raise UserError(
                f"{label}: the loss is {loss} in epoch {epoch.number + 1} (step {self.steps}, "
                f"learning rate {self.rate.now:.2g}); lower the learning rate or set precision: fp32"
            )
        return loss, accuracy

    def _keep(self, epoch: EpochState, label: str) -> None:
        """Write a checkpoint when one is due; never of a training that is lost already."""
        if self.checkpoints is None or not self.checkpoints.is_due():
            return
        self._figures(epoch, label)
        self.checkpoints.write(
            {
                "execution": self.compute_config.facts(),
                "epoch": vars(epoch),
                "log": self.log,
                "steps": self.steps,
                "model": self.network.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "rate": self.rate.state(),
                "average": None if self.average is None else self.average.state_dict(),
                "random": random_state(self.compute_config.device),
            }
        )

    def _restore(self, state: dict[str, Any]) -> EpochState:
        """Be what `_keep` wrote, and go on with its epoch."""
        self.network.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.rate.restore(state["rate"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.log, self.steps = state["log"], state["steps"]
        set_random_state(state["random"])
        epoch = EpochState(**state["epoch"])
        epoch.totals = epoch.totals.to(self.compute_config.device)
        return epoch

    def _step(self, epoch: int, number: int, data: Split, which: Rows) -> Tensor:
        """One optimiser step; float32 (2,): loss and right answers, summed over the batch."""
        share = self._mixing_share(epoch, number)
        if self.graphs is None:
            totals = self._gradients(epoch, data, which, share if share < 1 else None)
            self.optimizer.step()
        else:
            totals = self._graph_step(self.graphs, epoch, data, which, share)
        self.rate.step_ended()
        self.steps += 1
        if self.average is not None:
            self.average.update(self.network.model, step=self.steps)
        return totals

    def _graph_step(self, graphs: StepGraphs, epoch: int, data: Split, which: Rows, share: float) -> Tensor:
        """The same, of which as much is recorded as reads all that changes from memory."""
        whole = not self.rate.moves_momentum  # which optimisers take for a number that stays

        def step(which: Tensor, share_in_memory: Tensor) -> Tensor:
            totals = self._gradients(epoch, data, which, share_in_memory if share < 1 else None)
            if whole:
                with graphs.rates_in_memory():
                    self.optimizer.step()
            return totals

        for what in self.drawn:
            self._seed(what, epoch)
        assert isinstance(which, Tensor)
        totals = graphs.take((self._augmented(epoch), share < 1), which, share, step)
        if not whole:
            self.optimizer.step()
        return totals

    def _gradients(self, epoch: int, data: Split, which: Rows, share: float | Tensor | None) -> Tensor:
        """The gradients of a batch, and its totals as `_step` gives them.

        Args:
            share: of mixup; None mixes nothing.
        """
        loss, outputs, targets = self._forward(epoch, data.take(which), share)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        named = self.network.head.probabilities(outputs.detach()).argmax(1)
        return torch.stack([loss.detach() * len(which), (named == targets).sum().float()])

    def _forward(
        self, epoch: int, batch: Split, share: float | Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The loss of a batch, the outputs, and what is right, int64 (B,); `share` as of `_gradients`."""
        images, addends = self._batch(epoch, batch.images, batch.rows), self._addends(epoch, batch)
        if share is not None:
            images = share * images + (1 - share) * images.flip(0)
        outputs = self._outputs(images, addends)
        loss = self._loss(outputs, addends, batch.values, batch.digits)
        if share is not None:
            digits = None if batch.digits is None else batch.digits.flip(0)
            loss = share * loss + (1 - share) * self._loss(outputs, addends, batch.values.flip(0), digits)
        return loss, outputs, _targets(batch.values, addends)

    def _seed(self, what: str, epoch: int) -> Seed:
        """The seed of all that is drawn for one purpose in an epoch."""
        seed = derive_seed(self.seed, what, epoch)
        return seed if self.graphs is None else self.graphs.seed(what, seed)

    def _outputs(self, images: Tensor, addends: Tensor | None) -> Tensor:
        with self.compute_config.autocast():
            return self.network.outputs(self.compute_config.to_memory_format(images), addends)

    def _loss(self, outputs: Tensor, addends: Tensor | None, values: Tensor, digits: Tensor | None) -> Tensor:
        return self.network.head.loss(outputs, _targets(values, addends), digits)

    def _addends(self, epoch: int, data: Split) -> Tensor | None:
        """Integers drawn anew for each image in each epoch, int64 (B,), where the network takes them."""
        if not self.network.takes_addend:
            return None
        drawn = draw_uniforms(self._seed("addends", epoch), data.rows, 1, data.images.device)[:, 0]
        return (drawn * (LARGEST_ADDEND + 1)).long()

    def _augmented(self, epoch: int) -> bool:
        return epoch < self.member.epochs - self.member.plain_epochs

    def _batch(self, epoch: int, images: Tensor, rows: Rows) -> Tensor:
        """uint8 (B, C, H, W) -> float32, augmented where this epoch is, normalised."""
        augment = self.augment if self._augmented(epoch) else self.identity
        return self.normalisation(augment(images, rows, self._seed("augment", epoch)))

    def _mixing_share(self, epoch: int, number: int) -> float:
        """How much of each image stays itself under mixup, at least half; 1 mixes nothing."""
        if not (self.member.mixup and self._augmented(epoch)):
            return 1.0
        random = np.random.default_rng(derive_seed(self.seed, "mixup", epoch, number))
        share = float(random.beta(self.member.mixup, self.member.mixup))
        # The same mixtures, with the label of the larger part as the one to get right.
        return max(share, 1 - share)

    @torch.no_grad()
    def _loss_on(self, data: Split) -> float:
        """Mean loss on rows that are not fed, by the plain weights, without augmentation."""
        self.network.model.eval()
        total = 0.0
        for which in np.array_split(np.arange(len(data.rows)), math.ceil(len(data.rows) / 1000)):
            batch = data.take(which)
            addends = self._addends(0, batch)  # the same each time
            outputs = self._outputs(self._identity(batch.images), addends)
            total += float(self._loss(outputs, addends, batch.values, batch.digits)) * len(which)
        self._to_training_mode()
        return total / len(data.rows)

    def _identity(self, images: Tensor) -> Tensor:
        """uint8 (B, C, H, W) -> float32 as prediction sees it, normalised."""
        return self.normalisation(apply_view(self.member.view, images.float()))


def _targets(values: Tensor, addends: Tensor | None) -> Tensor:
    """What the head is to name: the values, or the labels where the network was given addends."""
    return values if addends is None else values + addends
