"""Jobs on a Ray cluster: the same jobs, with the same names and numbers, on other machines.

Each job runs in a temporary folder of its node, and what it left is brought back into `models/`. Its
checkpoints are kept by an actor on the driver's node, in the job's own folder, so that a job whose worker
or node is lost goes on elsewhere from the last of them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softvote.artifacts import FoldFolder, claimed, forget, sweep, written_whole
from softvote.dataset import Dataset
from softvote.engines.base import Left, Work, blocked, waiting
from softvote.errors import UserError
from softvote.extra import ExtraRows
from softvote.jobs import Job, run_job
from softvote.pipeline import RayEngine

Files = dict[str, bytes]

_RETRIES = 5  # of a job whose worker or node was lost

_LEFT_BY_TRAINING = ("weights.safetensors", "log.csv", "recipe.json")
_LEFT_BY_PREDICTION = ("oof.npz", "test.npy", "scores.json")  # the last marks the folder as done


def require_ray() -> None:
    """Raise unless Ray is installed.

    Raises:
        UserError: it is not.
    """
    try:
        import ray  # noqa: F401
    except ModuleNotFoundError:
        raise UserError("engine ray: Ray is not installed; pip install 'softvote[cluster]'") from None


def run_on_cluster(work: Work, spec: RayEngine) -> list[Left]:
    """Do the jobs on the cluster.

    Raises:
        UserError: there is no cluster at the address.
    """
    import ray

    _connect(spec)
    try:
        with contextlib.ExitStack() as claims:
            return _Driver(work, spec, claims).run()
    finally:
        ray.shutdown()


def _connect(spec: RayEngine) -> None:
    import ray

    import softvote

    address = spec.address or os.environ.get("RAY_ADDRESS")
    # The nodes run the code of this run, whatever version of it they have installed.
    environment = {"py_modules": [str(Path(softvote.__file__).parent)]}
    try:
        if address and address != "auto":
            _knock(address)  # Ray itself would try for minutes
        ray.init(
            address=address, runtime_env=environment, logging_level=logging.ERROR, include_dashboard=False
        )
    except (OSError, ValueError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"engine.address: no Ray cluster at {address} ({reason}); start one with: ray start --head"
        ) from None


def _knock(address: str) -> None:
    """Raise an OSError unless something listens at host:port."""
    host, _, port = address.rpartition(":")
    if not port.isdecimal():
        raise ValueError("not host:port")
    socket.create_connection((host, int(port)), timeout=10).close()


class _Driver:
    """The jobs of one run: those that wait, those that the cluster has, and those that were left."""

    def __init__(self, work: Work, spec: RayEngine, claims: contextlib.ExitStack) -> None:
        import ray

        self.work, self.claims = work, claims
        self.waiting, self.left = list(work.jobs), list[Left]()
        self.running = dict[Any, Job]()
        self.data = ray.put((work.dataset(), work.folds))  # a node fetches it once, for all its jobs
        self.keeper = ray.remote(_Keeper).options(num_cpus=0, scheduling_strategy=_this_node()).remote()
        self.do = ray.remote(_do).options(num_cpus=spec.cpus, num_gpus=spec.gpus, max_retries=_RETRIES)
        self.threads = max(1, int(spec.cpus))

    def run(self) -> list[Left]:
        """Until nothing is left that could be done."""
        import ray

        while self.waiting or self.running:
            self._hand_out()
            if not self.running:
                break
            ended, _ = ray.wait(list(self.running), num_returns=1)
            self._take_back(ended[0])
        return self.left + [waiting(job) for job in self.waiting]

    def _hand_out(self) -> None:
        failed = [left.job for left in self.left if left.kind == "failed"]
        for job in list(self.waiting):
            if any(job.source is other for other in failed):
                self.left.append(blocked(job))
            elif not job.is_ready():
                continue
            elif not self.claims.enter_context(claimed(job.folder.lock)):
                self.left.append(Left(job, "busy", "another run is busy with it"))
            elif job.state() != "done":
                self._send(job)
            self.waiting.remove(job)

    def _send(self, job: Job) -> None:
        sweep(job.folder.path)
        extra = job.extra(self.work.dataset()) if job.extra else None
        source = _read(job.source.folder, _LEFT_BY_TRAINING) if job.source else {}
        own = _read(job.folder, _LEFT_BY_TRAINING) if job.state() == "predict" else {}
        sent = self.do.remote(
            replace(job, extra=None), self.data, extra, own, source, self.work.checkpoint_seconds,
            self.threads, self.keeper, job.folder.checkpoint.resolve(),
        )  # fmt: skip
        self.running[sent] = job

    def _take_back(self, ended: Any) -> None:
        import ray

        job = self.running.pop(ended)
        try:
            found: Files | str = ray.get(ended)
        except ray.exceptions.RayError as error:
            lines = [line for line in str(error).splitlines() if line.strip()]
            self.left.append(
                Left(job, "failed", f"{job.label}: was lost on the cluster ({lines[0].strip()})")
            )
            return
        if isinstance(found, str):
            self.left.append(Left(job, "failed", found))
            return
        forget(job.folder.scores)
        for name, content in found.items():
            with written_whole(job.folder.path / name) as temporary:
                temporary.write_bytes(content)
        forget(job.folder.checkpoint)


def _this_node() -> Any:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)


def _read(folder: FoldFolder, names: tuple[str, ...]) -> Files:
    paths = [folder.path / name for name in names]
    return {path.name: path.read_bytes() for path in paths if path.is_file()}


class _Keeper:
    """Reads and writes checkpoints where the driver's files are."""

    def read(self, path: Path) -> bytes | None:
        """The content of a file; None where there is none."""
        return path.read_bytes() if path.is_file() else None

    def write(self, path: Path, content: bytes) -> None:
        """Write it whole."""
        with written_whole(path) as temporary:
            temporary.write_bytes(content)


# ---------------------------------------------------------------- on a node


def _do(
    job: Job,
    data: tuple[Dataset, NDArray[np.int64]],
    extra: ExtraRows | None,
    own: Files,
    source: Files,
    seconds: float,
    threads: int,
    keeper: Any,
    kept: Path,
) -> Files | str:
    """Do a job in a temporary folder; the files it left, or what is wrong in words.

    Args:
        own: files of the job that are there already.
        source: files of the job whose weights it starts from.
        kept: the keeper's path of the checkpoint.
    """
    import ray
    import torch

    torch.set_num_threads(threads)
    # What all jobs of a node share is read-only, and nobody writes to it.
    warnings.filterwarnings("ignore", "The given NumPy array is not writable")
    with tempfile.TemporaryDirectory(prefix="softvote-") as place:
        here = _moved(job, extra, Path(place), own, source)
        checkpoint = ray.get(keeper.read.remote(kept))
        if checkpoint is not None:
            here.folder.checkpoint.write_bytes(checkpoint)
        try:
            run_job(here, *data, seconds, lambda content: keeper.write.remote(kept, content))
        except UserError as error:
            return str(error)
        return _read(here.folder, (*_LEFT_BY_TRAINING, *_LEFT_BY_PREDICTION))


def _moved(job: Job, extra: ExtraRows | None, place: Path, own: Files, source: Files) -> Job:
    """The job with its folder, and that of its source, under another place."""
    folders = [FoldFolder(place / "own"), FoldFolder(place / "source")]
    for folder, files in zip(folders, (own, source), strict=True):
        folder.path.mkdir()
        for name, content in files.items():
            (folder.path / name).write_bytes(content)
    started_from = replace(job.source, folder=folders[1]) if job.source else None
    given = None if extra is None else lambda dataset: extra
    return replace(job, folder=folders[0], source=started_from, extra=given)
