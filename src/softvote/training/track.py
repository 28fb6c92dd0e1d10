"""Shows a training to a tracker, which can neither stop it nor hold it up."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from dataclasses import replace

from softvote.config.entries import TrackerConfig
from softvote.progress import note
from softvote.storage.locks import shared_lock
from softvote.storage.paths import tracker_lock
from softvote.trackers.base import TrackedTraining, Tracker, TrackerRun
from softvote.training.callbacks import Callback
from softvote.training.state import TrainingState

PATIENCE = 10.0
"""Seconds that the end of a training waits for a tracker, whose server may be out of reach."""


_SHOWN = {
    "loss": "train/loss",
    "accuracy": "train/accuracy",
    "validation_loss": "validation/loss",
    "validation_accuracy": "validation/accuracy",
    "learning_rate": "learning_rate",
    "images_per_second": "images_per_second",
}


class TrackTraining(Callback):
    """Logs every epoch to a tracker; what goes wrong there is told in a line, and the training goes on.

    The tracker works in a thread of its own, because a call to a server may take as long as it likes.

    Args:
        tracker: a `Tracker`.
    """

    def __init__(self, tracker: TrackerConfig, training: TrackedTraining) -> None:
        assert isinstance(tracker, Tracker)
        self.tracker, self.training = tracker, training
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._run: TrackerRun | None = None

    def on_start(self, state: TrainingState) -> None:
        """Open the run; that of a training that goes on is gone on with."""
        training = replace(self.training, goes_on=bool(state.log) or state.steps > 0)
        self._broken = False
        self._label = state.label
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()
        self._calls.put(lambda: self._open(training))

    def on_epoch(self, state: TrainingState) -> None:
        """Log the epoch."""
        row = state.log[-1]
        values = {name: float(row[column]) for column, name in _SHOWN.items() if column in row}
        self._calls.put(lambda: self._log(int(row["epoch"]), values))

    def on_end(self, state: TrainingState) -> None:
        """End the run, and wait a little until what was logged is written."""
        finished = len(state.log) >= state.epochs
        self._calls.put(lambda: self._end(finished))
        self._calls.put(None)
        self._thread.join(PATIENCE)
        if self._thread.is_alive() and not self._broken:
            self._tell(f"did not answer for {PATIENCE:.0f} s and was left; what it lacks is in log.csv")

    def _work(self) -> None:
        """Do the calls in order, after one that failed none; meanwhile nobody removes what they write."""
        with contextlib.ExitStack() as held:
            self._try(lambda: held.enter_context(shared_lock(tracker_lock(self.training.folder))))
            while (call := self._calls.get()) is not None:
                self._try(call)

    def _try(self, call: Callable[[], object]) -> None:
        if self._broken:
            return
        try:
            call()
        except Exception as error:  # whatever a package raises, a training does not end by it
            self._broken = True
            what = str(error).partition("\n")[0] or type(error).__name__
            self._tell(f"failed ({what}); the training goes on without it")

    def _tell(self, what: str) -> None:
        note(f"{self._label}: tracker {self.tracker.name} {what}")

    def _open(self, training: TrackedTraining) -> None:
        self._run = self.tracker.open(training)

    def _log(self, epoch: int, values: dict[str, float]) -> None:
        assert self._run is not None
        self._run.log(epoch, values)

    def _end(self, finished: bool) -> None:
        assert self._run is not None
        self._run.end(finished)
