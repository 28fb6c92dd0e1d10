"""What runs on the nodes of a Ray cluster: one job in a temporary folder; and the keeper of its files.

The driver of `softvote.scheduling.ray` hands jobs out and takes back what they left.
"""

from __future__ import annotations

import contextlib
import functools
import socket
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from softvote.data.dataset import Dataset
from softvote.data.extra_rows import ExtraRows
from softvote.data.file_images import FileImages
from softvote.errors import Problem, UserError
from softvote.scheduling.helpers import start_helpers
from softvote.scheduling.job import Job
from softvote.scheduling.worker import EngineServices, run_job
from softvote.storage.cache import Cache, Compute, JsonObject, disk_cache, get_cached
from softvote.storage.files import atomic_write
from softvote.storage.paths import FoldFolder

Given = TypeVar("Given")

FileContents = dict[str, bytes]
"""Files of one folder, by name."""

_FOLDER = FoldFolder(Path())

LEFT_BY_TRAINING = tuple(path.name for path in (_FOLDER.weights, _FOLDER.log, _FOLDER.recipe))
# The last marks the folder as done.
LEFT_BY_PREDICTION = tuple(path.name for path in (_FOLDER.oof, _FOLDER.test, _FOLDER.scores))


def read_files(folder: FoldFolder, names: tuple[str, ...]) -> FileContents:
    """Read those of some files of a folder that are there."""
    paths = [folder.path / name for name in names]
    return {path.name: path.read_bytes() for path in paths if path.is_file()}


class FileKeeper:
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


@dataclass(frozen=True)
class SentFiles:
    """What goes to a node with a job: files that it left, and those of each job that it starts from."""

    own: FileContents
    sources: Sequence[FileContents]


@dataclass(frozen=True)
class NodeServices:
    """What a node does a job with.

    Attributes:
        threads: of each process.
        processes: how many train together.
        checkpoint_seconds: between two checkpoints.
        keeper: the actor that has a `FileKeeper`.
        checkpoint: the keeper's path of the job's checkpoint.
        autotune: the keeper's folder of what was found fastest.
    """

    threads: int
    processes: int
    checkpoint_seconds: float
    keeper: Any
    checkpoint: Path
    autotune: Path


def do_job(
    job: Job,
    data: tuple[Dataset, NDArray[np.int64]],
    extra: ExtraRows | None,
    files: SentFiles,
    node: NodeServices,
) -> FileContents | UserError:
    """Do a job in a temporary folder; the files it left, or what is wrong.

    Args:
        data: the competition's, and the fold of each training row, int64 (N,).
        extra: what the job's `extra` gives; None where it has none.
    """
    import ray
    import torch

    if problem := _find_unreachable(data[0]):
        return UserError(problem)
    torch.set_num_threads(node.threads)
    # What all jobs of a node share is read-only, and nobody writes to it.
    warnings.filterwarnings("ignore", "The given NumPy array is not writable")
    with tempfile.TemporaryDirectory(prefix="softvote-") as place:
        here = _relocate(job, extra, Path(place), files)
        checkpoint = ray.get(node.keeper.read.remote(node.checkpoint))
        if checkpoint is not None:
            here.folder.checkpoint.write_bytes(checkpoint)
        try:
            with _checkpoints_to(node.keeper, node.checkpoint) as keep:
                begin = functools.partial(_give, data[0])
                team = functools.partial(start_helpers, node.processes, begin, here, data[1])
                cache = _cache_of(node.keeper, node.autotune)
                run_job(here, *data, EngineServices(node.checkpoint_seconds, keep, cache, team))
        except UserError as error:
            return error
        return read_files(here.folder, (*LEFT_BY_TRAINING, *LEFT_BY_PREDICTION))


def _find_unreachable(dataset: Dataset) -> Problem | None:
    """What is wrong where images stay in their files and this node does not have them."""
    for pixels in (dataset.train_pixels, dataset.test_pixels):
        if isinstance(pixels, FileImages) and (name := pixels.unreachable_file()):
            what = f"cannot be read on {socket.gethostname()}; images stay in their files"
            hint = "use a disk that all nodes share, shards, or files.images: cached"
            return Problem(name, what, hint)
    return None


def _give(value: Given, *asked: object) -> Given:
    """What was read here already, for those that would read it, also in the processes that help."""
    return value


@contextlib.contextmanager
def _checkpoints_to(keeper: Any, path: Path) -> Iterator[Callable[[bytes], None]]:
    """Send checkpoints to the keeper; one that it could not write is told with the next, or at the end.

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


def _cache_of(keeper: Any, folder: Path) -> Cache:
    """What is known of machines like this node; of two that look at once, the first decides for both."""
    import ray

    def find_once(inputs: JsonObject, find: Compute) -> JsonObject:
        try:
            known: JsonObject | None = ray.get(keeper.find.remote(folder, inputs, None))
            return known or cast(JsonObject, ray.get(keeper.find.remote(folder, inputs, find())))
        except ray.exceptions.RayTaskError as error:
            raise _cause(error) from None

    return find_once


def _cause(error: Any) -> UserError:
    """What the keeper met, as it said it."""
    return error.cause if isinstance(error.cause, UserError) else UserError(str(error.cause))


def _relocate(job: Job, extra: ExtraRows | None, place: Path, files: SentFiles) -> Job:
    """The job with its folder, and those of its sources, under another place."""
    names = ["own", *(f"source{n}" for n in range(len(files.sources)))]
    folders = [FoldFolder(place / name) for name in names]
    for folder, contents in zip(folders, (files.own, *files.sources), strict=True):
        folder.path.mkdir()
        for name, content in contents.items():
            (folder.path / name).write_bytes(content)
    moved = [replace(source, folder=folder) for source, folder in zip(job.sources, folders[1:], strict=True)]
    source, teachers = (moved[0], moved[1:]) if job.source else (None, moved)
    given = None if extra is None else functools.partial(_give, extra)
    return replace(job, folder=folders[0], source=source, teachers=tuple(teachers), extra=given)
