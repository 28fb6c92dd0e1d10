"""What every tracker does, and the registry of them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from softvote.config.entries import TrackerConfig
from softvote.config.registry import Registry, register_by_name
from softvote.errors import UserError


@dataclass(frozen=True)
class TrackedTraining:
    """Which training is shown.

    Attributes:
        folder: of all that the tracker writes.
        name: of the run, pipeline/member/fold.
        key: fingerprint of the training; one that goes on is told by it.
        params: its recipe under dotted keys, fold, seed, and where its files will lie.
        goes_on: whether it began in a process that is gone, so that its run is there already.
    """

    folder: Path
    name: str
    key: str
    params: Mapping[str, Any]
    goes_on: bool = False

    @property
    def project(self) -> str:
        """The pipeline."""
        return self.name.partition("/")[0]


class TrackerRun(Protocol):
    """One training as a tracker sees it. All calls come from one thread, which is not the training's."""

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        """Write the figures of an epoch, from 1, so that they are on disk or on their way at once."""
        ...

    def end(self, finished: bool) -> None:
        """Write what is left; `finished` says whether the training came to its end."""
        ...


class Tracker(TrackerConfig):
    """Opens a run for a training."""

    def open(self, training: TrackedTraining) -> TrackerRun:
        """Begin a run, or go on with the one that the training had; import the package inside.

        May raise whatever the package does, and may take long: the training neither fails nor waits.
        """
        raise NotImplementedError


TRACKERS: Registry[type[Tracker]] = Registry()
"""The class of every `tracker.name`."""


_C = TypeVar("_C", bound=Tracker)


def register_tracker(rank: int = 100) -> Callable[[type[_C]], type[_C]]:
    """Register a class under the name that its `name: Literal[...]` allows; `rank` as for `Registry.add`."""
    return register_by_name(TRACKERS, rank)


def require_tracker(tracker: TrackerConfig) -> None:
    """Refuse a tracker whose package is missing, before anything is trained.

    Raises:
        UserError: it is.
    """
    if importlib.util.find_spec(tracker.package) is None:
        hint = f"pip install 'softvote[{tracker.name}]', or leave the tracker out"
        raise UserError.at("tracker", f"{tracker.package} is not installed", hint)
