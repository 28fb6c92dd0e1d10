"""Jobs on a Ray cluster: the same jobs, with the same names and numbers, on other machines.

Each job runs in a temporary folder of its node, and what it left is brought back into `models/`. Its
checkpoints are kept by an actor on the driver's node, in the job's own folder, so that a job whose worker
or node is lost goes on elsewhere from the last of them.

Every job that is ready is claimed when it is handed to Ray, even if it waits there for a free node; what
another run is busy with is left to that one and told, and not asked for again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from softvote.config.engine import RayEngine
from softvote.errors import ErrorCollector, Problem, UserError
from softvote.scheduling.engine import Unfinished, as_taken, as_waiting, find_blocked
from softvote.scheduling.job import Job
from softvote.scheduling.job_batch import JobBatch
from softvote.scheduling.ray_node import (
    LEFT_BY_TRAINING,
    FileContents,
    FileKeeper,
    NodeServices,
    SentFiles,
    do_job,
    read_files,
)
from softvote.scheduling.status import Due, is_ready, read_status
from softvote.storage.files import atomic_write, remove_if_exists, remove_temp_files
from softvote.storage.locks import try_lock

_RETRIES = 5  # of a job whose worker or node was lost


# What the command line sets before torch is loaded; a node's processes load torch of their own.
_CARRIED = ("OMP_WAIT_POLICY", "PYTORCH_ENABLE_MPS_FALLBACK")


def require_ray() -> None:
    """Raise unless Ray is installed.

    Raises:
        UserError: it is not.
    """
    try:
        import ray  # noqa: F401
    except ModuleNotFoundError:
        raise UserError.at("engine ray", "Ray is not installed", "pip install 'softvote[cluster]'") from None


def run_on_cluster(work: JobBatch, spec: RayEngine) -> list[Unfinished]:
    """Do the jobs on the cluster.

    Raises:
        UserError: trainings that need a file of this machine; there is no cluster at the address.
    """
    import ray

    _refuse_weights_files(work.jobs)
    _connect(spec)
    try:
        with contextlib.ExitStack() as claims:
            return _Driver(work, spec, claims).run()
    finally:
        ray.shutdown()


def _refuse_weights_files(jobs: Sequence[Job]) -> None:
    problems = ErrorCollector()
    for job in jobs:
        if job.member.weights_file and read_status(job).due == "train":
            what = f"starts from {job.member.weights_file}, which engine ray takes to no node"
            hint = f"train it here first: `member` {job.member_name} `set` engine=local"
            problems.add(f"members.{job.member_name}.model_args", what, hint)
    problems.raise_any()


def _connect(spec: RayEngine) -> None:
    import ray

    import softvote

    address = spec.address or os.environ.get("RAY_ADDRESS")
    # The nodes run the code of this run, whatever version of it they have installed.
    carried = {name: os.environ[name] for name in _CARRIED if name in os.environ}
    environment = {"py_modules": [str(Path(softvote.__file__).parent)], "env_vars": carried}
    try:
        if address not in (None, "", "auto", "local"):
            _knock(address)  # Ray itself would try for minutes
        ray.init(
            address=address, runtime_env=environment, logging_level=logging.ERROR, include_dashboard=False
        )
    except (OSError, ValueError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError.at(
            "engine.address", f"no Ray cluster at {address} ({reason})", "start one with: ray start --head"
        ) from None


def _knock(address: str) -> None:
    """Raise an OSError unless something listens at host:port."""
    host, _, port = address.rpartition(":")
    if not port.isdecimal():
        raise ValueError("not host:port")
    socket.create_connection((host, int(port)), timeout=10).close()


class _Driver:
    """The jobs of one run: those that wait, those that the cluster has, and those that were left."""

    def __init__(self, work: JobBatch, spec: RayEngine, claims: contextlib.ExitStack) -> None:
        import ray

        self.work, self.spec, self.claims = work, spec, claims
        self.waiting, self.left = list(work.jobs), list[Unfinished]()
        self.running = dict[Any, Job]()
        self.dataset = work.dataset()
        self.data = ray.put((self.dataset, work.folds))  # a node fetches it once, for all its jobs
        self.extra = dict[str, Any]()  # the same, for each set of extra rows
        self.keeper = ray.remote(FileKeeper).options(num_cpus=0, scheduling_strategy=_this_node()).remote()
        self.do = ray.remote(do_job).options(num_cpus=spec.cpus, num_gpus=spec.gpus, max_retries=_RETRIES)

    def run(self) -> list[Unfinished]:
        """Until nothing is left that could be done."""
        import ray

        while self.waiting or self.running:
            self._hand_out()
            if not self.running:
                break
            ended, _ = ray.wait(list(self.running), num_returns=1)
            self._take_back(ended[0])
        return self.left + [as_waiting(job) for job in self.waiting]

    def _hand_out(self) -> None:
        """What is ready; one that cannot be handed out stops no other."""
        for job in list(self.waiting):
            if blocked := find_blocked(job, self.left):
                self.left.append(blocked)
            else:
                try:
                    if not is_ready(job):
                        continue
                    self._take_up(job)
                except UserError as error:
                    self._note_failed(job, error)
                except OSError as error:
                    self._note_failed(job, UserError(str(error)))
            self.waiting.remove(job)

    def _take_up(self, job: Job) -> None:
        """Send it, unless another run is busy with it, or did it meanwhile."""
        if not self.claims.enter_context(try_lock(job.folder.lock)):
            self.left.append(as_taken(job))
        elif (due := read_status(job).due) != "done":
            self._send(job, due)

    def _send(self, job: Job, due: Due) -> None:
        remove_temp_files(job.folder.path)
        extra = self._extra_of(job) if due == "train" else None
        own = read_files(job.folder, LEFT_BY_TRAINING) if due == "predict" else {}
        sources = [read_files(source.folder, LEFT_BY_TRAINING) for source in job.sources]
        files = SentFiles(own, sources)
        sent = self.do.remote(replace(job, extra=None), self.data, extra, files, self._services_for(job))
        self.running[sent] = job

    def _services_for(self, job: Job) -> NodeServices:
        processes = self.spec.devices_per_training
        return NodeServices(
            threads=max(1, int(self.spec.cpus) // processes),
            processes=processes,
            checkpoint_seconds=self.work.checkpoint_seconds,
            keeper=self.keeper,
            checkpoint=job.folder.checkpoint.resolve(),
            autotune=self.work.workspace.autotune.resolve(),
        )

    def _extra_of(self, job: Job) -> Any:
        """Where the cluster keeps the job's extra rows; equal ones are read and put there once."""
        import ray

        if job.extra is None:
            return None
        key = job.inputs["extra_train"]
        if key not in self.extra:
            self.extra[key] = ray.put(job.extra(self.dataset))
        return self.extra[key]

    def _take_back(self, ended: Any) -> None:
        job = self.running.pop(ended)
        try:
            found = _answer(ended)
            if isinstance(found, UserError):
                raise found
            remove_if_exists(job.folder.scores)
            for name, content in found.items():
                with atomic_write(job.folder.path / name) as temporary:
                    temporary.write_bytes(content)
            for passed in (job.folder.checkpoint, job.folder.crash):  # the latter of another run, perhaps
                remove_if_exists(passed)
        except UserError as error:
            self._note_failed(job, error)

    def _note_failed(self, job: Job, error: UserError) -> None:
        named = [
            problem if problem.where.startswith(job.label) else problem.within(job.label)
            for problem in error.problems
        ]
        self.left.append(Unfinished(job, "failed", UserError(*named)))


def _answer(ended: Any) -> FileContents | UserError:
    """What a job left, or what is wrong."""
    import ray

    try:
        found: FileContents | UserError = ray.get(ended)
    except ray.exceptions.RayTaskError as error:  # an exception of the job's own
        cause = error.cause
        what = f"{type(cause).__name__}: {cause}".partition("\n")[0]
        hint = "its traceback is in the log of Ray's worker"
        return UserError(Problem("", f"crashed on the cluster ({what})", hint))
    except ray.exceptions.RayError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return UserError(f"was lost on the cluster ({lines[0]})")
    return found


def _this_node() -> Any:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
