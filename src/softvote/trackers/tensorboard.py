"""TensorBoard: event files on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from softvote.storage.files import remove_folder
from softvote.trackers.base import TrackedTraining, Tracker, TrackerRun, register_tracker


@register_tracker(rank=0)
class TensorBoard(Tracker):
    """Event files under `models/.trackers/tensorboard/`: `tensorboard --logdir` shows them."""

    package: ClassVar[str] = "tensorboard"

    name: Literal["tensorboard"]
    """`tensorboard`: event files under `models/.trackers/tensorboard/`."""

    def open(self, training: TrackedTraining) -> TrackerRun:
        """Write into the folder of the run's name; what begins anew takes the place of what was there."""
        from torch.utils.tensorboard import SummaryWriter

        folder = training.folder / training.name
        if not training.goes_on:
            remove_folder(folder)
        writer: Any = SummaryWriter(str(folder))
        lines = [f"| {key} | {value} |" for key, value in training.params.items()]
        writer.add_text("recipe", "\n".join(["| key | value |", "|---|---|", *lines]), 0)
        writer.flush()
        return _TensorBoardRun(writer)


class _TensorBoardRun:
    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, epoch)
        self._writer.flush()

    def end(self, finished: bool) -> None:
        self._writer.close()
