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
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from softvote.artifacts import FoldFolder, claimed, forget, sweep, written_whole
from softvote.dataset import Dataset
from softvote.engines.base import Left, Work, blocked, waiting
from softvote.errors import UserError
from softvote.extra import ExtraRows
from softvote.jobs import Job, run_job
from softvote.kept import Facts, Finder, Findings, kept_in, look_up
from softvote.pipeline import RayEngine

Files = dict[str, bytes]

_RETRIES = 5  # of a job whose worker or node was lost

_FOLDER = FoldFolder(Path())
_LEFT_BY_TRAINING = tuple(path.name for path in (_FOLDER.weights, _FOLDER.log, _FOLDER.recipe))
# The last marks the folder as done.
_LEFT_BY_PREDICTION = tuple(path.name for path in (_FOLDER.oof, _FOLDER.test, _FOLDER.scores))


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
                try:
                    self._send(job)
                except UserError as error:
                    self.left.append(Left(job, "failed", f"{job.label}: {error}"))
            self.waiting.remove(job)

    def _send(self, job: Job) -> None:
        sweep(job.folder.path)
        extra = job.extra(self.work.dataset()) if job.extra else None
        source = _read(job.source.folder, _LEFT_BY_TRAINING) if job.source else {}
        own = _read(job.folder, _LEFT_BY_TRAINING) if job.state() == "predict" else {}
        sent = self.do.remote(
            replace(job, extra=None), self.data, extra, own, source, self.work.checkpoint_seconds,
            self.threads, self.keeper, job.folder.checkpoint.resolve(),
            self.work.workspace.choices.resolve(),
        )  # fmt: skip
        self.running[sent] = job

    def _take_back(self, ended: Any) -> None:
        job = self.running.pop(ended)
        try:
            found = _answer(ended)
            if isinstance(found, str):
                raise UserError(found)
            forget(job.folder.scores)
            for name, content in found.items():
                with written_whole(job.folder.path / name) as temporary:
                    temporary.write_bytes(content)
            forget(job.folder.checkpoint)
        except UserError as error:
            told = str(error)
            named = told if told.startswith(job.label) else f"{job.label}: {told}"
            self.left.append(Left(job, "failed", named))


def _answer(ended: Any) -> Files | str:
    """What a job left, or what is wrong in words."""
    import ray

    try:
        found: Files | str = ray.get(ended)
    except ray.exceptions.RayTaskError as error:  # an exception of the job's own
        cause = error.cause
        what = f"{type(cause).__name__}: {cause}".partition("\n")[0]
        return f"crashed on the cluster ({what}); its traceback is in the log of Ray's worker"
    except ray.exceptions.RayError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return f"was lost on the cluster ({lines[0]})"
    return found


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

    def find(self, folder: Path, facts: Facts, found: Facts | None) -> Facts | None:
        """What is kept for these facts, else what a node found; None where there is neither."""
        return look_up(folder, facts) if found is None else kept_in(folder)(facts, lambda: found)


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
    findings: Path,
) -> Files | str:
    """Do a job in a temporary folder; the files it left, or what is wrong in words.

    Args:
        own: files of the job that are there already.
        source: files of the job whose weights it starts from.
        kept: the keeper's path of the checkpoint.
        findings: the keeper's folder of them.
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
            run_job(here, *data, seconds, _kept_by(keeper, kept), _found_by(keeper, findings))
        except UserError as error:
            return str(error)
        return _read(here.folder, (*_LEFT_BY_TRAINING, *_LEFT_BY_PREDICTION))


def _kept_by(keeper: Any, path: Path) -> Callable[[bytes], None]:
    """Sends checkpoints to the keeper; one that it could not write is told when the next is sent."""
    import ray

    sent: list[Any] = []

    def keep(content: bytes) -> None:
        try:
            ray.get(sent)
        except ray.exceptions.RayTaskError as error:
            raise UserError(str(error.cause)) from None
        sent[:] = [keeper.write.remote(path, content)]

    return keep


def _found_by(keeper: Any, folder: Path) -> Findings:
    """What is known of machines like this node; of two that look at once, the first decides for both."""
    import ray

    def find_once(facts: Facts, find: Finder) -> Facts:
        try:
            known: Facts | None = ray.get(keeper.find.remote(folder, facts, None))
            return known or cast(Facts, ray.get(keeper.find.remote(folder, facts, find())))
        except ray.exceptions.RayTaskError as error:
            raise UserError(str(error.cause)) from None

    return find_once


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
