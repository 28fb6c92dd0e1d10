"""Weights & Biases: on this machine, or at its server for those who signed in."""

from __future__ import annotations

import netrc
import os
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from softvote.trackers.base import TrackedTraining, Tracker, TrackerRun, register_tracker

_SERVER = "api.wandb.ai"


@register_tracker(rank=2)
class WeightsAndBiases(Tracker):
    """Runs under `models/.trackers/wandb/`, which `wandb sync` takes to the server later."""

    package: ClassVar[str] = "wandb"

    name: Literal["wandb"]
    """`wandb`: a project per pipeline, a run per training."""
    mode: Literal["auto", "online", "offline"] = "auto"
    """Whether runs go to the server at once (`online`) or stay here until `wandb sync` (`offline`); `auto` is
    online where WANDB_MODE says so, or for those who are signed in."""
    entity: str | None = None
    """User or team whose project it is; if omitted, that of who is signed in."""

    def open(self, training: TrackedTraining) -> TrackerRun:
        """Begin a run, or go on with the one of the same training, which has the same id."""
        import wandb

        training.folder.mkdir(parents=True, exist_ok=True)
        run: Any = wandb.init(
            project=training.project,
            entity=self.entity,
            name=training.name,
            id=f"{training.key}-{training.name.replace('/', '-')}",
            resume="allow",
            dir=str(training.folder),
            config=dict(training.params),
            mode=self._resolve_mode(),
            settings=wandb.Settings(silent=True, console="off", x_disable_stats=True),
            reinit="create_new",
        )
        return _WandbRun(run)

    def _resolve_mode(self) -> Literal["online", "offline"]:
        if self.mode != "auto":
            return self.mode
        if said := os.environ.get("WANDB_MODE"):
            return "online" if said == "online" else "offline"
        return "online" if os.environ.get("WANDB_API_KEY") or _is_in_netrc() else "offline"


def _is_in_netrc() -> bool:
    try:
        return netrc.netrc().authenticators(_SERVER) is not None
    except (OSError, netrc.NetrcParseError):
        return False


class _WandbRun:
    def __init__(self, run: Any) -> None:
        self._run = run

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        self._run.log({**values, "epoch": epoch}, step=epoch)

    def end(self, finished: bool) -> None:
        self._run.finish(exit_code=0 if finished else 1)
