"""Training one network on the rows of its folds: a fixed schedule, and the last epoch counts.

The whole data set lies on the device as uint8; batches are gathered, augmented and normalised there.
Every random choice of an epoch is seeded by that epoch, so any epoch can be run again alone.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn

from softvote.augment import create_augmenter
from softvote.errors import UserError
from softvote.execution import Execution, choose_execution
from softvote.heads import Head
from softvote.networks import create_network
from softvote.normalise import Normalisation
from softvote.progress import TrainingProgress
from softvote.recipe import Member, Plateau
from softvote.schedules import LearningRate, create_optimizer
from softvote.seeds import augmentation_seed, derive_seed

_FIGURES_AN_EPOCH = 20  # how often loss and accuracy are fetched from the device for the bar


@dataclass(frozen=True)
class TrainingRows:
    """The rows one training sees.

    Attributes:
        images: uint8 (n, C, H, W).
        labels: int64 (n,), class indices.
        rows: int64 (n,), row numbers in the train file; augmentation is drawn by them.
    """

    images: Tensor
    labels: Tensor
    rows: NDArray[np.int64]

    def take(self, which: NDArray[np.int64]) -> TrainingRows:
        """Some of the rows, by position."""
        chosen = torch.from_numpy(which)
        return TrainingRows(self.images[chosen], self.labels[chosen], self.rows[which])

    def to(self, device: str) -> TrainingRows:
        """The same rows on a device."""
        return TrainingRows(self.images.to(device), self.labels.to(device), self.rows)


@dataclass(frozen=True)
class Trained:
    """What a training leaves: the network that predicts, how it ran, and a log row an epoch."""

    images_an_epoch: int
    model: nn.Module
    normalisation: Normalisation
    execution: Execution
    log: list[dict[str, Any]]


def train(member: Member, data: TrainingRows, num_classes: int, seed: int, label: str) -> Trained:
    """Train a member's network.

    Args:
        member: network and recipe.
        data: the rows of the training folds.
        num_classes: K.
        seed: of this training; on a CPU, equal seeds, threads and precision give equal weights.
        label: what the progress display calls it.

    Raises:
        UserError: no such network, or a loss that is no number.
    """
    torch.set_flush_denormal(True)
    _, channels, height, width = data.images.shape
    torch.manual_seed(derive_seed(seed, "weights"))
    model, head = create_network(member, num_classes, (channels, height, width))
    execution = choose_execution(
        model, (min(member.batch_size, len(data.rows)), channels, height, width),
        member.precision, member.memory_format, (member.model, repr(member.model_args)),
    )  # fmt: skip
    fed, watched = _hold_out(member, data, seed)
    training = Training(member, execution.place(model), head, execution, Normalisation.of(fed.images), seed)
    training.run(fed.to(execution.device), None if watched is None else watched.to(execution.device), label)
    return Trained(len(fed.rows), training.predictor, training.normalisation, execution, training.log)


def _hold_out(member: Member, data: TrainingRows, seed: int) -> tuple[TrainingRows, TrainingRows | None]:
    """The rows to feed, and those a plateau watches; both are of the training folds."""
    schedule = member.schedule
    if not (isinstance(schedule, Plateau) and schedule.watch == "held_out"):
        return data, None
    order = np.random.default_rng(derive_seed(seed, "held out")).permutation(len(data.rows))
    watched = max(1, round(schedule.held_out * len(order)))
    return data.take(np.sort(order[watched:])), data.take(np.sort(order[:watched]))


class Training:
    """The state of one training: what changes from step to step."""

    def __init__(
        self,
        member: Member,
        model: nn.Module,
        head: Head,
        execution: Execution,
        normalisation: Normalisation,
        seed: int,
    ) -> None:
        self.member, self.model, self.head = member, model, head
        self.execution, self.normalisation, self.seed = execution, normalisation, seed
        self.optimizer = create_optimizer(member.optimizer, model, execution.device)
        self.average = ModelEmaV3(model, decay=member.ema, use_warmup=True) if member.ema else None
        self.augment = create_augmenter(member.augment)
        self.as_they_are = create_augmenter(None)
        self.steps = 0
        self.log: list[dict[str, Any]] = []

    @property
    def predictor(self) -> nn.Module:
        """The network that predicts: the moving average where there is one."""
        return self.model if self.average is None else self.average.module

    def run(self, data: TrainingRows, watched: TrainingRows | None, label: str) -> None:
        """All epochs."""
        # Batch norm cannot learn from a batch of one row.
        batches = max(1, min(math.ceil(len(data.rows) / self.member.batch_size), len(data.rows) // 2))
        self.rate = LearningRate(self.member.schedule, self.optimizer, self.member.epochs * batches)
        progress = TrainingProgress(label, self.member.epochs, len(data.rows))
        try:
            for epoch in range(self.member.epochs):
                self._epoch(epoch, data, watched, batches, progress)
        finally:
            progress.close()

    def _epoch(
        self,
        epoch: int,
        data: TrainingRows,
        watched: TrainingRows | None,
        batches: int,
        progress: TrainingProgress,
    ) -> None:
        started, rate = time.perf_counter(), self.rate.now
        torch.manual_seed(derive_seed(self.seed, "epoch", epoch))
        loss, accuracy = self._feed(epoch, data, batches, progress)
        if not math.isfinite(loss):
            raise UserError(
                f"{progress.label}: the loss is {loss} in epoch {epoch + 1} (step {self.steps}, "
                f"learning rate {rate:.2g}); lower the learning rate or set precision: fp32"
            )
        watched_loss = loss if watched is None else self._loss_on(watched)
        self.rate.epoch_ended(watched_loss)
        seconds = time.perf_counter() - started
        self.log.append(
            {
                "epoch": epoch + 1,
                "learning_rate": rate,
                "augmented": self._augmented(epoch),
                "loss": loss,
                "accuracy": accuracy,
                "watched_loss": watched_loss,
                "seconds": seconds,
                "images_per_second": len(data.rows) / seconds,
            }
        )
        progress.epoch_ended(epoch, loss, accuracy, len(data.rows) / seconds)

    def _feed(
        self, epoch: int, data: TrainingRows, batches: int, progress: TrainingProgress
    ) -> tuple[float, float]:
        """Feed every row once, in batches of sizes that differ by one at most; mean loss and accuracy."""
        order = np.random.default_rng(derive_seed(self.seed, "order", epoch)).permutation(len(data.rows))
        totals = torch.zeros(2, device=data.images.device)
        seen, look_every = 0, max(1, batches // _FIGURES_AN_EPOCH)
        for number, which in enumerate(np.array_split(order, batches)):
            totals += self._step(epoch, number, data, which)
            seen += len(which)
            figures = None
            if progress.wants_figures and number % look_every == 0:
                loss, correct = (totals / seen).tolist()
                figures = f"epoch {epoch + 1}/{self.member.epochs} loss {loss:.4f} accuracy {correct:.2%}"
            progress.batch_ended(len(which), figures)
        loss, accuracy = (totals / seen).tolist()
        return loss, accuracy

    def _step(self, epoch: int, number: int, data: TrainingRows, which: NDArray[np.int64]) -> Tensor:
        """One optimiser step; float32 (2,): loss and right answers, summed over the batch."""
        chosen = torch.from_numpy(which).to(data.images.device)
        images, labels = self._batch(epoch, data.images[chosen], data.rows[which]), data.labels[chosen]
        share = self._mixing_share(epoch, number)
        if share < 1:
            images = share * images + (1 - share) * images.flip(0)
        with self.execution.autocast():
            outputs = self.model(self.execution.lay_out(images))
        loss = self.head.loss(outputs, labels)
        if share < 1:
            loss = share * loss + (1 - share) * self.head.loss(outputs, labels.flip(0))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.rate.step_ended()
        self.steps += 1
        if self.average is not None:
            self.average.update(self.model, step=self.steps)
        right = (self.head.probabilities(outputs.detach()).argmax(1) == labels).sum()
        return torch.stack([loss.detach() * len(which), right.float()])

    def _augmented(self, epoch: int) -> bool:
        return epoch < self.member.epochs - self.member.plain_epochs

    def _batch(self, epoch: int, images: Tensor, rows: NDArray[np.int64]) -> Tensor:
        """uint8 (B, C, H, W) -> float32, augmented where this epoch is, normalised."""
        augment = self.augment if self._augmented(epoch) else self.as_they_are
        return self.normalisation(augment(images, rows, augmentation_seed(self.seed, epoch)))

    def _mixing_share(self, epoch: int, number: int) -> float:
        """How much of each image stays itself under mixup, at least half; 1 mixes nothing."""
        if not (self.member.mixup and self._augmented(epoch)):
            return 1.0
        random = np.random.default_rng(derive_seed(self.seed, "mixup", epoch, number))
        share = float(random.beta(self.member.mixup, self.member.mixup))
        # The same mixtures, with the label of the larger part as the one to get right.
        return max(share, 1 - share)

    @torch.no_grad()
    def _loss_on(self, data: TrainingRows) -> float:
        """Mean loss on rows that are not fed, by the plain weights, without augmentation."""
        self.model.eval()
        total = 0.0
        for which in np.array_split(np.arange(len(data.rows)), math.ceil(len(data.rows) / 1000)):
            with self.execution.autocast():
                images = self.normalisation(data.images[which].float())
                outputs = self.model(self.execution.lay_out(images))
            total += float(self.head.loss(outputs, data.labels[which])) * len(which)
        self.model.train()
        return total / len(data.rows)
