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
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from softvote.config.pipeline import RayEngine
from softvote.data.dataset import Dataset
from softvote.data.extra_rows import ExtraRows
from softvote.errors import ErrorCollector, Problem, UserError
from softvote.scheduling.engine import JobBatch, Unfinished, blocked, taken, waiting
from softvote.scheduling.job import Job
from softvote.scheduling.status import Due, is_ready, read_status
from softvote.scheduling.worker import run_job
from softvote.storage.cache import Cache, Compute, JsonObject, disk_cache, get_cached
from softvote.storage.files import atomic_write, remove_if_exists, remove_temp_files
from softvote.storage.locks import try_lock
from softvote.storage.paths import FoldFolder

FileContents = dict[str, bytes]


_RETRIES = 5  # of a job whose worker or node was lost


# What the command line sets before torch is loaded; a node's processes load torch of their own.
_CARRIED = ("OMP_WAIT_POLICY", "PYTORCH_ENABLE_MPS_FALLBACK")


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
        if address and address != "auto":
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

        self.work, self.claims = work, claims
        self.waiting, self.left = list(work.jobs), list[Unfinished]()
        self.running = dict[Any, Job]()
        self.dataset = work.dataset()
        self.data = ray.put((self.dataset, work.folds))  # a node fetches it once, for all its jobs
        self.extra = dict[str, Any]()  # the same, for each set of extra rows
        self.keeper = ray.remote(_Keeper).options(num_cpus=0, scheduling_strategy=_this_node()).remote()
        self.do = ray.remote(_do).options(num_cpus=spec.cpus, num_gpus=spec.gpus, max_retries=_RETRIES)
        self.threads = max(1, int(spec.cpus))

    def run(self) -> list[Unfinished]:
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
        """What is ready; one that cannot be handed out stops no other."""
        for job in list(self.waiting):
            if any(left.kind == "failed" and left.job is job.source for left in self.left):
                self.left.append(blocked(job))
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
            self.left.append(taken(job))
        elif (due := read_status(job).due) != "done":
            self._send(job, due)

    def _send(self, job: Job, due: Due) -> None:
        remove_temp_files(job.folder.path)
        extra = self._extra_of(job) if due == "train" else None
        own = _read(job.folder, _LEFT_BY_TRAINING) if due == "predict" else {}
        source = _read(job.source.folder, _LEFT_BY_TRAINING) if job.source else {}
        sent = self.do.remote(
            replace(job, extra=None), self.data, extra, own, source, self.work.checkpoint_seconds,
            self.threads, self.keeper, job.folder.checkpoint.resolve(),
            self.work.workspace.autotune.resolve(),
        )  # fmt: skip
        self.running[sent] = job

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


def _cause(error: Any) -> UserError:
    """What the keeper met, as it said it."""
    return error.cause if isinstance(error.cause, UserError) else UserError(str(error.cause))


def _this_node() -> Any:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)


def _read(folder: FoldFolder, names: tuple[str, ...]) -> FileContents:
    paths = [folder.path / name for name in names]
    return {path.name: path.read_bytes() for path in paths if path.is_file()}


class _Keeper:
    """Reads and writes checkpoints where the driver's files are."""

    def read(self, path: Path) -> bytes | None:
        """The content of a file; None where there is none."""
        return path.read_bytes() if path.is_file() else None

    def write(self, path: Path, content: bytes) -> None:
        """Write it whole."""
        with atomic_write(path) as temporary:
            temporary.write_bytes(content)

    def find(self, folder: Path, inputs: JsonObject, found: JsonObject | None) -> JsonObject | None:
        """What is kept for these inputs, else what a node found; None where there is neither."""
        return get_cached(folder, inputs) if found is None else disk_cache(folder)(inputs, lambda: found)


def _do(
    job: Job,
    data: tuple[Dataset, NDArray[np.int64]],
    extra: ExtraRows | None,
    own: FileContents,
    source: FileContents,
    seconds: float,
    threads: int,
    keeper: Any,
    kept: Path,
    cache: Path,
) -> FileContents | UserError:
    """Do a job in a temporary folder; the files it left, or what is wrong.

    Args:
        own: files of the job that are there already.
        source: files of the job whose weights it starts from.
        kept: the keeper's path of the checkpoint.
        cache: the keeper's folder of them.
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
            with _kept_by(keeper, kept) as keep:
                run_job(here, *data, seconds, keep, _found_by(keeper, cache))
        except UserError as error:
            return error
        return _read(here.folder, (*_LEFT_BY_TRAINING, *_LEFT_BY_PREDICTION))


@contextlib.contextmanager
def _kept_by(keeper: Any, path: Path) -> Iterator[Callable[[bytes], None]]:
    """Sends checkpoints to the keeper; one that it could not write is told with the next, or at the end.

    The last has arrived when the block ends well; the driver removes it next, and none may come after that.
    """
    import ray

    sent: list[Any] = []

    def arrive() -> None:
        try:
            ray.get(sent)
        except ray.exceptions.RayTaskError as error:
            raise _cause(error) from None

    def keep(content: bytes) -> None:
        arrive()
        sent[:] = [keeper.write.remote(path, content)]

    yield keep
    arrive()


def _found_by(keeper: Any, folder: Path) -> Cache:
    """What is known of machines like this node; of two that look at once, the first decides for both."""
    import ray

    def find_once(inputs: JsonObject, find: Compute) -> JsonObject:
        try:
            known: JsonObject | None = ray.get(keeper.find.remote(folder, inputs, None))
            return known or cast(JsonObject, ray.get(keeper.find.remote(folder, inputs, find())))
        except ray.exceptions.RayTaskError as error:
            raise _cause(error) from None

    return find_once


def _moved(job: Job, extra: ExtraRows | None, place: Path, own: FileContents, source: FileContents) -> Job:
    """The job with its folder, and that of its source, under another place."""
    folders = [FoldFolder(place / "own"), FoldFolder(place / "source")]
    for folder, files in zip(folders, (own, source), strict=True):
        folder.path.mkdir()
        for name, content in files.items():
            (folder.path / name).write_bytes(content)
    started_from = replace(job.source, folder=folders[1]) if job.source else None
    given = None if extra is None else lambda dataset: extra
    return replace(job, folder=folders[0], source=started_from, extra=given)
