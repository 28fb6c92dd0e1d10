"""MLflow: a database on this machine, or a server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from softvote.storage.locks import file_lock
from softvote.trackers.base import TrackedTraining, Tracker, TrackerRun, register_tracker

_KEY, _NAME = "softvote.training", "mlflow.runName"
_LONGEST = 500  # characters of a parameter's value that MLflow takes


@register_tracker(rank=1)
class MLflow(Tracker):
    """An MLflow server, or a database under `models/.trackers/mlflow/`; an experiment per pipeline."""

    package: ClassVar[str] = "mlflow"

    name: Literal["mlflow"]
    """`mlflow`: an experiment per pipeline, a run per training."""
    uri: str | None = None
    """Address of MLflow's server or store; if omitted, `models/.trackers/mlflow/mlflow.db` here."""

    def open(self, training: TrackedTraining) -> TrackerRun:
        """Begin a run, or find the one that has the training's fingerprint."""
        from mlflow import MlflowClient

        database = training.folder / "mlflow.db"
        with file_lock(database):  # which several trainings would otherwise make at once
            client: Any = MlflowClient(self.uri or f"sqlite:///{database.resolve()}")
            experiment = client.get_experiment_by_name(training.project)
            if experiment is None:
                where = None if self.uri else (training.folder / "artifacts" / training.project).resolve()
                number = client.create_experiment(training.project, where and where.as_uri())
            else:
                number = experiment.experiment_id
        tagged = f"tags.`{_KEY}` = '{training.key}' and tags.`{_NAME}` = '{training.name}'"
        found = client.search_runs([number], tagged, max_results=1) if training.goes_on else []
        if found:
            run_id = found[0].info.run_id
            client.update_run(run_id, "RUNNING")
        else:
            run_id = client.create_run(number, tags={_KEY: training.key, _NAME: training.name}).info.run_id
            for key, value in training.params.items():
                client.log_param(run_id, key, str(value)[:_LONGEST])
        return _MLflowRun(client, run_id)


class _MLflowRun:
    def __init__(self, client: Any, run_id: str) -> None:
        self._client, self._run_id = client, run_id

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._client.log_metric(self._run_id, name, value, step=epoch)

    def end(self, finished: bool) -> None:
        self._client.set_terminated(self._run_id, "FINISHED" if finished else "KILLED")
