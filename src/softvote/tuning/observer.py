"""What looks on while a trial trains: it reports epochs, and stops a trial that is not worth its time."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from softvote.data.split import ImageSplit
from softvote.ensembling.scorer import Scorer
from softvote.errors import UserError
from softvote.scheduling.job import Job
from softvote.training.callbacks import Callback, predict_left_out
from softvote.tuning.study import StudyAddress

if TYPE_CHECKING:
    from softvote.training.state import TrainingState

STOPPED_AT = "stopped_at"
"""The attribute of a trial that was stopped: at which percent of its training."""


class StoppedError(UserError):
    """A trial was stopped because it is not worth its time."""


@dataclass(frozen=True)
class ObserveTrial:
    """Makes what looks on while one job of a trial trains.

    Attributes:
        number: of the trial.
        scorer: by what it is scored, without groups: no errors are taken here.
        part: which of the trial's jobs it is, from 0.
        parts: how many there are.
    """

    study: StudyAddress
    number: int
    scorer: Scorer
    part: int
    parts: int

    def __call__(self, job: Job, left_out: ImageSplit) -> Callback:
        """Make the callback; see `softvote.scheduling.job.Observer`."""
        return ReportEpochs(self, left_out)


class ReportEpochs(Callback):
    """Reports what the left-out rows score after each epoch, and ends a trial that others leave behind.

    The last epoch is reported as any other; a trial is valued by the predictions that follow it.
    """

    def __init__(self, spec: ObserveTrial, left_out: ImageSplit) -> None:
        self.spec, self.left_out = spec, left_out

    def on_start(self, state: TrainingState) -> None:
        """Open the trial."""
        self.trial = self.spec.study.trial(self.spec.number)

    def on_epoch(self, state: TrainingState) -> None:
        """Report the epoch.

        Raises:
            StoppedError: the trial is not worth its time.
        """
        spec = self.spec
        step = round(100 * (spec.part + len(state.log) / state.epochs) / spec.parts)
        worth = spec.scorer.worth(predict_left_out(state, self.left_out), self.left_out.known_labels)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a training that went on repeats what it reported
            self.trial.report(worth if spec.study.greater_is_better else -worth, step)
        if step < 100 and self.trial.should_prune():
            self.trial.set_user_attr(STOPPED_AT, step)
            raise StoppedError.at(state.label, f"stopped at {step} % of its training, below the others")
