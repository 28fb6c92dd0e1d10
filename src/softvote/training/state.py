"""A training between two steps."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from softvote.compute.precision import ComputeConfig
from softvote.errors import UserError
from softvote.training.learner import Learner


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
        waited: seconds of these, for batches that were not ready.
    """

    number: int
    learning_rate: float
    totals: Tensor
    batches: int = 0
    rows: int = 0
    seconds: float = 0.0
    waited: float = 0.0


@dataclass
class TrainingState:
    """What callbacks see of a training. Reading its attributes waits for no device.

    Attributes:
        learner: the network, and all that changes with it.
        label: which training, such as "cnn fold 0".
        rows: how many an epoch feeds.
        batches: steps per epoch.
        epoch: the one it is in.
        batch_rows: how many rows the last step fed.
        log: a row for every epoch that ended: epoch (from 1), learning_rate, augmented, loss, accuracy,
            watched_loss, seconds, images_per_second.
        stopped: whether the training ends after the step it is in.
    """

    learner: Learner
    label: str
    rows: int
    batches: int
    epoch: EpochState = field(init=False)
    batch_rows: int = 0
    log: list[dict[str, Any]] = field(default_factory=list)
    stopped: bool = False

    def __post_init__(self) -> None:
        self.begin_epoch(0)

    @property
    def epochs(self) -> int:
        """How many there are."""
        return self.learner.member.epochs

    @property
    def steps(self) -> int:
        """How many were taken, in all epochs."""
        return self.learner.steps

    @property
    def compute_config(self) -> ComputeConfig:
        """How the network runs."""
        return self.learner.compute_config

    @property
    def epochs_done(self) -> float:
        """How many epochs were fed, with the part of the one it is in."""
        return len(self.log) + (0 if self.epoch.number < len(self.log) else self.epoch.batches / self.batches)

    def begin_epoch(self, number: int) -> None:
        """Be in an epoch of which nothing was fed."""
        totals = torch.zeros(2, device=self.compute_config.device)
        self.epoch = EpochState(number, self.learner.rate.now, totals)

    def figures(self) -> tuple[float, float]:
        """Mean loss and accuracy of the epoch so far; waits until the device has computed them.

        Raises:
            UserError: the loss is not a number.
        """
        loss, accuracy = (self.epoch.totals / self.epoch.rows).tolist()
        if not math.isfinite(loss):
            raise UserError.at(
                self.label,
                f"the loss is {loss} in epoch {self.epoch.number + 1} (step {self.steps}, "
                f"learning rate {self.learner.rate.now:.2g})",
                "lower the learning rate or set precision: fp32",
            )
        return loss, accuracy

    def stop(self) -> None:
        """End the training after this step; the log has no row of an epoch that is cut short."""
        self.stopped = True

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on from here to the same bits; waits until the device has computed it.

        Raises:
            UserError: the loss is not a number, so that there is nothing to go on from.
        """
        self.figures()
        return self.learner.state_dict() | {"epoch": vars(self.epoch), "log": self.log}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.learner.load_state_dict(state)
        self.log, self.epoch = state["log"], EpochState(**state["epoch"])
        self.epoch.totals = self.epoch.totals.to(self.compute_config.device)
