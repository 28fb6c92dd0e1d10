"""Batches of a training, made ready while the step before them is taken.

Small images in memory are gathered by the step itself, as those are that lie on the device whole: a thread
would cost more than it saves. All others are read by threads, some batches ahead, and what is done to images
on the processor is done by processes. Which rows are fed in which order is not decided here, and what happens
to an image depends on its seed and its row alone, so that nothing here changes a bit.
"""

from __future__ import annotations

import functools
import multiprocessing
import time
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from types import TracebackType

import numpy as np
import torch
from numpy.typing import NDArray

from softvote.compute.draws import Rows
from softvote.config.entries import ImageTransform
from softvote.data.pixels import is_array
from softvote.machine import end_with_parent, start_forkserver
from softvote.training.rows import Split, StoredSplit

_AHEAD = 3  # batches that are ready or being made


_SMALL = 1 << 20  # bytes of images in a batch, below which the step gathers them itself


_MOST_WORKERS = 8


@dataclass(frozen=True)
class SeededTransform:
    """What happens to images on the processor in one epoch."""

    transform: ImageTransform
    seed: int

    def __call__(self, images: NDArray[np.uint8], rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """uint8 (B, C, H, W) and row numbers int64 (B,) -> uint8 (B, C', H', W')."""
        return self.transform(images, rows, self.seed)


class BatchLoader:
    """Makes batches ready; to be used in a `with` block, which ends its threads and processes.

    Args:
        data: as the learner prepared it.
        batch_size: rows of the largest batch.
        workers: processes that transform images; if omitted, as many as this process has threads to compute.

    Attributes:
        waited: seconds that the training waited for batches so far.
    """

    def __init__(self, data: Split, batch_size: int, workers: int | None = None) -> None:
        self.data, self.waited = data, 0.0
        self.workers = min(_MOST_WORKERS, torch.get_num_threads()) if workers is None else workers
        stored = isinstance(data, StoredSplit)
        large = batch_size * int(np.prod(data.shape[1:])) >= _SMALL
        self._reads_ahead = isinstance(data, StoredSplit) and (large or not is_array(data.pixels))
        self._device = data.device if isinstance(data, StoredSplit) else str(data.images.device)
        self._is_pinned = stored and self._device == "cuda"

    def __enter__(self) -> BatchLoader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in ("_threads", "_processes"):
            if name in self.__dict__:  # made when it was needed first
                self.__dict__.pop(name).shutdown(cancel_futures=True)

    def load(
        self, order: Sequence[Rows], transform: SeededTransform | None = None
    ) -> Generator[tuple[Split, Rows]]:
        """The batches of an epoch: a split, and where in it the rows of the batch stand.

        Args:
            order: of each batch the positions in the data, int64 (B,).
            transform: what happens to the images before they are fed.
        """
        if transform is None and not self._reads_ahead:
            yield from ((self.data, which) for which in order)
            return
        waiting, left = deque[Future[Split]](), iter(order)
        try:
            waiting.extend(self._submit(which, transform) for which in islice(left, _AHEAD))
            while waiting:
                began = time.perf_counter()
                batch = waiting.popleft().result().to(self._device)
                self.waited += time.perf_counter() - began
                waiting.extend(self._submit(which, transform) for which in islice(left, 1))
                yield batch, np.arange(len(batch.rows))
        finally:
            for future in waiting:
                future.cancel()

    def _submit(self, which: Rows, transform: SeededTransform | None) -> Future[Split]:
        return self._threads.submit(self._make, which, transform)

    def _make(self, which: Rows, transform: SeededTransform | None) -> Split:
        batch = self.data.read(which)
        if transform is not None:
            batch = replace(batch, images=torch.from_numpy(self._transform(batch, transform)))
        return replace(batch, images=batch.images.pin_memory()) if self._is_pinned else batch

    def _transform(self, batch: Split, transform: SeededTransform) -> NDArray[np.uint8]:
        images, rows = batch.images.cpu().numpy(), torch.as_tensor(batch.rows).cpu().numpy()
        if not self.workers:
            return transform(images, rows)
        parts = [part for part in np.array_split(np.arange(len(rows)), self.workers) if len(part)]
        made = [self._processes.submit(transform, images[part], rows[part]) for part in parts]
        return np.concatenate([each.result() for each in made])

    @functools.cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(2, "batches")  # one reads while the other waits for processes

    @functools.cached_property
    def _processes(self) -> ProcessPoolExecutor:
        start_forkserver(__name__)  # with torch, once for all; where a server runs, it has it
        context = multiprocessing.get_context("forkserver")
        return ProcessPoolExecutor(self.workers, context, initializer=_begin_worker)


def _begin_worker() -> None:
    end_with_parent()
    torch.set_num_threads(1)
