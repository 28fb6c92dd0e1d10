"""The loop of a training: epochs of steps, and whoever looks on."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from softvote.compute.device import synchronize, to_device
from softvote.compute.draws import Rows
from softvote.seeds import derive_seed
from softvote.training.batches import BatchLoader
from softvote.training.callbacks import Callback
from softvote.training.learner import Learner
from softvote.training.rows import Split, StoredSplit
from softvote.training.state import TrainingState


class Trainer:
    """Feeds a learner.

    Args:
        learner: what learns.
        label: what messages call the training.
        callbacks: told of every step and epoch, in their order.
    """

    def __init__(self, learner: Learner, label: str, callbacks: Sequence[Callback] = ()) -> None:
        self.learner, self.label, self.callbacks = learner, label, callbacks

    def run(
        self, data: Split, watched: Split | None = None, resume: dict[str, Any] | None = None
    ) -> TrainingState:
        """Train all epochs, those that are left after a state, or until a callback stops.

        Args:
            data: the rows to feed.
            watched: rows of which a plateau watches the loss; None lets it watch the loss of training.
            resume: what `TrainingState.state_dict` gave.

        Raises:
            UserError: a loss that is not a number.
        """
        learner = self.learner
        watched = None if watched is None else learner.prepare(watched)
        data = learner.prepare(data)
        rows = len(data.rows)
        # Batch norm cannot learn from a batch of one row.
        batches = max(1, min(math.ceil(rows / learner.member.batch_size), rows // 2))
        learner.start(learner.member.epochs * batches, self.label)
        if isinstance(data, StoredSplit):  # a step that is recorded reads its rows where they stay
            learner.graphs = None
        state = TrainingState(learner, self.label, rows, batches)
        if resume is not None:
            state.load_state_dict(resume)
        with self._looking_on(state), BatchLoader(data, math.ceil(rows / batches)) as loader:
            while len(state.log) < state.epochs and not state.stopped:
                if state.epoch.number < len(state.log):
                    state.begin_epoch(len(state.log))
                self._run_epoch(state, loader, watched)
        learner.finish()
        return state

    @contextlib.contextmanager
    def _looking_on(self, state: TrainingState) -> Iterator[None]:
        """Tell the callbacks of the start and, whatever happens, those that heard of it of the end."""
        with contextlib.ExitStack() as stack:
            for callback in self.callbacks:
                callback.on_start(state)
                stack.callback(callback.on_end, state)
            yield

    def _run_epoch(self, state: TrainingState, loader: BatchLoader, watched: Split | None) -> None:
        self._feed(state, loader)
        epoch, learner = state.epoch, self.learner
        loss, accuracy = state.figures()
        if epoch.batches < state.batches:  # a callback stopped it
            return
        watched_loss = loss if watched is None else learner.mean_loss(watched)
        learner.rate.epoch_ended(watched_loss)
        state.log.append(
            {
                "epoch": epoch.number + 1,
                "learning_rate": epoch.learning_rate,
                "augmented": learner.is_augmented(epoch.number),
                "loss": loss,
                "accuracy": accuracy,
                "watched_loss": watched_loss,
                "seconds": epoch.seconds,
                "images_per_second": state.rows / epoch.seconds,
            }
        )
        for callback in self.callbacks:
            callback.on_epoch(state)

    def _feed(self, state: TrainingState, loader: BatchLoader) -> None:
        """Feed what the epoch has not fed yet, in batches of sizes that differ by one at most."""
        epoch, learner = state.epoch, self.learner
        if not epoch.batches:
            torch.manual_seed(derive_seed(learner.seed, "epoch", epoch.number))
        order = learner.order(epoch.number, loader.data)
        left = self._in_batches(order, state.batches)[epoch.batches :]
        started, waited = time.perf_counter() - epoch.seconds, loader.waited - epoch.waited
        with contextlib.closing(loader.load(left, learner.transform(epoch.number))) as batches:
            for number, (data, which) in enumerate(batches, epoch.batches):
                epoch.totals += learner.step(epoch.number, number, data, which)
                state.batch_rows = len(which)
                epoch.batches, epoch.rows = number + 1, epoch.rows + len(which)
                epoch.seconds, epoch.waited = time.perf_counter() - started, loader.waited - waited
                for callback in self.callbacks:
                    callback.on_step(state)
                if state.stopped:
                    break
        synchronize(learner.compute_config.device)  # which may be some steps behind
        epoch.seconds = time.perf_counter() - started

    def _in_batches(self, order: NDArray[np.int64], batches: int) -> Sequence[Rows]:
        """Where the rows of each step stand; with graphs on the device, all in one copy."""
        graphs = self.learner.graphs
        if graphs is None:
            return np.array_split(order, batches)
        return to_device(torch.from_numpy(order), graphs.device).tensor_split(batches)
