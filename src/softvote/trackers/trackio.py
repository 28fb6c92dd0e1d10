"""Trackio: a database on this machine."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from softvote.trackers.base import TrackedTraining, Tracker, TrackerRun, register_tracker


@register_tracker(rank=3)
class Trackio(Tracker):
    """Databases under `models/.trackers/trackio/`, one per pipeline; TRACKIO_DIR names another folder."""

    package: ClassVar[str] = "trackio"

    name: Literal["trackio"]
    """`trackio`: a project per pipeline, a run per training."""

    def open(self, training: TrackedTraining) -> TrackerRun:
        """Begin a run; that of a training that goes on is the newest of its name."""
        # Trackio reads it when it is imported.
        os.environ.setdefault("TRACKIO_DIR", str(training.folder.resolve()))
        with contextlib.redirect_stdout(io.StringIO()):  # where results of the command are printed
            import trackio

            run: Any = trackio.init(
                project=training.project,
                name=training.name,
                config=dict(training.params),
                resume="allow" if training.goes_on else "never",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )
        return _TrackioRun(run)


class _TrackioRun:
    def __init__(self, run: Any) -> None:
        self._run = run

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=epoch)

    def end(self, finished: bool) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            self._run.finish()
