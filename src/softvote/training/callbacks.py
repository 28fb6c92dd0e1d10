"""What looks on while a training runs: the progress display, and whatever a caller adds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from softvote.data.split import ImageSplit
from softvote.inference.predictor import Predictor
from softvote.metrics.scores import accuracy, log_loss
from softvote.progress import TrainingProgress
from softvote.training.state import TrainingState

_FIGURES_PER_EPOCH = 20  # how often loss and accuracy are fetched from the device where somebody looks


class Callback:
    """Told how a training goes on; does nothing, so that a subclass writes only what it wants to hear.

    A callback may call `state.stop()`, and must draw no numbers from torch's global generator in `on_step`:
    dropout draws from it.

    Examples:
        >>> class StopWhenAccurate(Callback):
        ...     def on_epoch(self, state):
        ...         if state.log[-1]["accuracy"] > 0.999:
        ...             state.stop()
    """

    def on_start(self, state: TrainingState) -> None:
        """Before the first step, or the first of those that are left of a training that goes on."""

    def on_step(self, state: TrainingState) -> None:
        """After every step; `state.figures()` and `state.state_dict()` wait for the device."""

    def on_epoch(self, state: TrainingState) -> None:
        """After every epoch, whose figures are `state.log[-1]`."""

    def on_end(self, state: TrainingState) -> None:
        """At the end, also of a training that fails or is interrupted."""


class ShowProgress(Callback):
    """A bar at a terminal, a line now and then in a log file."""

    def on_start(self, state: TrainingState) -> None:
        """Say from where it goes on, if it does."""
        self.progress = TrainingProgress(state.label, state.epochs, state.rows, state.epochs_done)
        self.look_every = max(1, state.batches // _FIGURES_PER_EPOCH)

    def on_step(self, state: TrainingState) -> None:
        """Move the bar on; now and then, where somebody looks, with loss and accuracy."""
        figures, epoch = None, state.epoch
        if self.progress.wants_figures and (epoch.batches - 1) % self.look_every == 0:
            loss, accuracy = state.figures()  # each look waits for the device
            figures = f"epoch {epoch.number + 1}/{state.epochs} loss {loss:.4f} accuracy {accuracy:.2%}"
        self.progress.end_batch(state.batch_rows, figures)

    def on_epoch(self, state: TrainingState) -> None:
        """Without a terminal, say how the epoch went."""
        row = state.log[-1]
        self.progress.end_epoch(state.epoch.number, row["loss"], row["accuracy"], row["images_per_second"])

    def on_end(self, state: TrainingState) -> None:
        """Take the bar away."""
        self.progress.close()


class LogLeftOut(Callback):
    """Adds to the log of every epoch how the network does on rows that it is not trained on.

    The log gets `validation_loss`, in nats, and `validation_accuracy`, 0..1. Nothing is decided by them, and
    the weights are the same to the last bit without. Callbacks that look at the log come after this one.

    Args:
        left_out: the rows, with labels of one class each.
    """

    def __init__(self, left_out: ImageSplit) -> None:
        self.left_out = left_out

    def on_epoch(self, state: TrainingState) -> None:
        """Log what the rows score."""
        probabilities = predict_left_out(state, self.left_out)
        labels = self.left_out.known_labels
        state.log[-1] |= {
            "validation_loss": log_loss(probabilities, labels).value,
            "validation_accuracy": accuracy(probabilities, labels).value,
        }


def predict_left_out(state: TrainingState, left_out: ImageSplit) -> NDArray[np.float32]:
    """Predict rows between two epochs, without test-time augmentation, float32 (n, K).

    Training goes on to the same bits as without.
    """
    learner = state.learner
    network = replace(learner.network, model=learner.predictor)
    view = learner.member.view
    predictor = Predictor(network, learner.normalisation, learner.compute_config, view=view)
    probabilities = predictor.out_of_fold(left_out)
    learner.to_training_mode()
    return probabilities
