"""What looks on while jobs train, beside what every training has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from softvote.config.entries import TrackerConfig
from softvote.data.split import ImageSplit
from softvote.scheduling.job import Job
from softvote.storage.paths import Workspace

if TYPE_CHECKING:
    from softvote.training.callbacks import Callback


def track(tracker: TrackerConfig, workspace: Workspace, job: Job, left_out: ImageSplit) -> Callback:
    """Make what shows a job's training to a tracker, under the path that the training has in `models/`."""
    from softvote.trackers.base import TrackedTraining
    from softvote.training.track import TrackTraining

    path = job.folder.path
    name = path.relative_to(workspace.models) if path.is_relative_to(workspace.models) else path
    recipe = job.member.model_dump(mode="json", exclude_defaults=True)
    artifacts = {"weights": job.folder.weights, "recipe": job.folder.recipe, "log": job.folder.log}
    params = _flatten(recipe) | {"fold": job.fold, "seed": job.inputs["pipeline_seed"]}
    training = TrackedTraining(
        folder=workspace.tracker(tracker.name),
        name=name.as_posix(),
        key=job.training_fingerprint,
        params=params | {f"path.{what}": str(where) for what, where in artifacts.items()},
    )
    return TrackTraining(tracker, training)


def _flatten(values: dict[str, Any], key: str = "") -> dict[str, Any]:
    """Leaves under dotted keys, such as `optimizer.lr`."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{key}{name}.")
        else:
            flat[f"{key}{name}"] = value
    return flat
