"""How fast a member trains on this machine: it is trained for some seconds, by as many processes as will be.

What is tried is `softvote.training.train` itself, stopped on its way; nothing else of it is left.
"""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from multiprocessing import connection
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import numpy as np
from tqdm import tqdm

from softvote.compute.device import synchronize
from softvote.compute.precision import ComputeConfig
from softvote.config.recipe import Member
from softvote.data.dataset import Dataset
from softvote.data.split import ImageSplit
from softvote.errors import UserError
from softvote.inference.network import Network, create_network
from softvote.inference.predictor import Predictor
from softvote.machine import end_with_parent
from softvote.scheduling.job import Job
from softvote.scheduling.job_batch import JobBatch
from softvote.scheduling.processes import context, prepare
from softvote.scheduling.resources import set_worker_device
from softvote.scheduling.worker import training_rows
from softvote.storage.cache import disk_cache
from softvote.training.callbacks import Callback
from softvote.training.glyphs import any_glyphs
from softvote.training.rows import Split
from softvote.training.state import TrainingState
from softvote.training.teaching import any_soft_targets
from softvote.training.train import TrainingSpec, compute_config_for, train

SECONDS = 3.0
"""Of training that are timed, at least."""


_STEPS = 6  # that are timed, at least


_WARM_UP = 3  # steps; each of an epoch's two sizes of batch is slow when it is met first


_LONG = 5.0  # seconds; so long a step, or a prediction, tells enough by itself


_PREDICTING = 1 / 3  # of these seconds, timed once more for prediction


_IMAGES = 128  # predicted at once


_FEW = 16  # predicted at first


_ENDURED = 20.0  # seconds; where the images that are timed would take longer, a few have to do


_SAMPLE = 512  # rows from which the time that frozen features take is reckoned


_ENDLESS = 1 << 20  # epochs


_READY, _GO_ON = None, None  # what a process and this one say before they time something side by side


Barrier = Callable[[], None]
"""Returns when all processes are there."""


@dataclass(frozen=True)
class Throughput:
    """How fast the trainings of a member go.

    Attributes:
        start: seconds that a job takes beside its epochs: data, network, features that are frozen. One that
            only predicts takes about as many.
        fed: images that an epoch feeds.
        trained: images per second in training.
        predicted: images per second in prediction, with test-time views.
        teaching: seconds in which its teachers predict what it learns, before its first epoch.
    """

    start: float
    fed: float
    trained: float
    predicted: float
    teaching: float = 0.0

    @property
    def epoch(self) -> float:
        """Seconds an epoch takes."""
        return self.fed / self.trained


def spawn_seconds() -> float:
    """Seconds from the beginning of a run until its first process can work: all must be imported first."""
    began = time.perf_counter()
    prepare()
    process = context.Process(target=end_with_parent)
    process.start()
    process.join()
    return time.perf_counter() - began


def measure(job: Job, work: JobBatch, gpus: list[int], threads: int, seconds: float = SECONDS) -> Throughput:
    """The mean throughput of processes that train the same at the same time.

    What a training starts from need not be there: how fast it trains does not depend on weights.

    Args:
        gpus: of each process; 0 throughout where there is none.
        threads: of each.
        seconds: of training that are timed, at least.

    Raises:
        UserError: why it cannot be trained.
    """
    prepare()
    tried = [_begin(job, work, (threads, gpu), seconds) for gpu in gpus]
    try:
        found = _answers([line for line, _ in tried])
    except BaseException:
        for _, process in tried:
            process.terminate()
        raise
    finally:
        for line, process in tried:
            line.close()
            process.join()
    return Throughput(**{name: sum(each[name] for each in found) / len(found) for name in found[0]})


def _begin(
    job: Job, work: JobBatch, share: tuple[int, int], seconds: float
) -> tuple[Connection, ForkServerProcess]:
    ours, its = context.Pipe()
    process = context.Process(target=_try, args=(job, work, share, seconds, its))
    process.start()
    its.close()
    return ours, process


def _answers(lines: list[Connection]) -> list[dict[str, float]]:
    """What each process found; whenever all are ready, they are told to go on."""
    found, ready = list[dict[str, float]](), list[Connection]()
    while len(found) < len(lines):
        for line in connection.wait([line for line in lines if line not in ready]):
            assert isinstance(line, Connection)
            try:
                answer = line.recv()
            except (EOFError, OSError):
                raise UserError("its process was killed, perhaps for want of memory") from None
            if isinstance(answer, UserError):
                raise answer
            ready.append(line)
            found += [answer] if answer else []
        if len(ready) == len(lines) > len(found):
            for line in ready:
                line.send(_GO_ON)
            ready.clear()
    return found


def _try(job: Job, work: JobBatch, share: tuple[int, int], seconds: float, line: Connection) -> None:
    def meet() -> None:
        line.send(_READY)
        line.recv()

    end_with_parent()
    set_worker_device(*share)
    tqdm.set_lock(threading.RLock())  # its own would outlive a process that is terminated
    with Path(os.devnull).open("w") as sys.stderr:  # no messages of a training that is none
        try:
            line.send(asdict(_trial(job, work, meet, seconds)))
        except UserError as error:
            line.send(error)
        except Exception as error:  # a fault of ours: told here, for nobody sees its traceback
            line.send(UserError(f"{type(error).__name__}: {error}"))


def _trial(job: Job, work: JobBatch, meet: Barrier, seconds: float) -> Throughput:
    began = time.perf_counter()
    dataset = work.dataset()
    data = training_rows(job, dataset, work.folds)
    if job.member.glyphs_from:
        data = replace(data, glyphs=any_glyphs())
    if job.teachers:
        data = replace(data, soft=any_soft_targets(data, job.task.num_values))
    trial = _Trial(job, work, data, meet)
    # What is slow once in a process is slow here; only the choice is left out, which one training makes.
    before = time.perf_counter() - began - trial.choosing
    start, trained = trial.run(seconds)
    fed = len(data.rows) * (1 - job.member.schedule.held_out_proportion)
    predicted = trial.predict(dataset, _PREDICTING * seconds)
    return Throughput(before + start, fed, trained, predicted, trial.teach(dataset, _PREDICTING * seconds))


class _Trial:
    """A training that never ends by itself, and the prediction after it."""

    def __init__(self, job: Job, work: JobBatch, data: Split, meet: Barrier) -> None:
        self.job, self.data, self.meet = job, data, meet
        self.member = job.member.model_copy(update={"epochs": _ENDLESS, "no_aug_epochs": 0})
        self.choices = disk_cache(work.workspace.autotune)
        _, channels, height, width = data.shape
        self.network = create_network(self.member, job.task, (channels, height, width), with_weights=False)
        began = time.perf_counter()
        self.compute_config = compute_config_for(self.member, self.network, data.shape, self.choices)
        self.choosing = time.perf_counter() - began

    def run(self, seconds: float) -> tuple[float, float]:
        """Seconds before the first step, and images per second after it.

        Features that are frozen are computed before the first step, for every row. So a frozen member is
        given some rows, and twice as many, and the rest is reckoned from the two.
        """
        rows = len(self.data.rows)
        if not self.member.freeze or rows <= 2 * _SAMPLE:
            return self._of(self.data, seconds)
        less, _ = self._of(self._some(_SAMPLE), 0)
        more, trained = self._of(self._some(2 * _SAMPLE), seconds)
        return more + max(0.0, more - less) * (rows / _SAMPLE - 2), trained

    def _some(self, rows: int) -> Split:
        return self.data.select(np.arange(min(rows, len(self.data.rows))))

    def _of(self, data: Split, seconds: float) -> tuple[float, float]:
        watch = _StopAfter(seconds, self.meet)
        classes = self.job.inputs["classes"]
        spec = TrainingSpec(
            self.member, self.job.task, 0, self.job.label, classes=classes, with_weights=False
        )
        train(spec, data, [watch], cache=self.choices)
        images_per_step = len(data.rows) / math.ceil(len(data.rows) / self.member.batch_size)
        return max(0.0, watch.warm - watch.warm_steps * watch.step), images_per_step / watch.step

    def predict(self, dataset: Dataset, seconds: float) -> float:
        """Images per second."""
        some = dataset.train.take(slice(_IMAGES))
        return self._images_per_second(self.network, self.compute_config, self.member, some, seconds)

    def teach(self, dataset: Dataset, seconds: float) -> float:
        """Seconds in which the teachers predict all rows, each timed for an equal part of `seconds`."""
        found, part = 0.0, seconds / max(1, len(self.job.teachers))
        _, channels, height, width = self.data.shape
        some = replace(dataset.train.take(slice(_IMAGES)), addends=None)
        for member in [teacher.member for teacher in self.job.teachers]:
            network = create_network(member, self.job.task, (channels, height, width), with_weights=False)
            compute_config = compute_config_for(member, network, self.data.shape, self.choices)
            found += len(self.data.rows) / self._images_per_second(
                network, compute_config, member, some, part
            )
        return found

    def _images_per_second(
        self,
        network: Network,
        compute_config: ComputeConfig,
        member: Member,
        some: ImageSplit,
        seconds: float,
    ) -> float:
        compute_config = compute_config.to_predict()
        compute_config.to_device(network.model)
        measured = network.normalisation(self._some(_IMAGES).selected, member.normalise)
        predictor = Predictor(network, measured, compute_config, member.tta, member.view)
        few = some.take(slice(_FEW))
        began = time.perf_counter()
        predictor.probabilities(few.images, few.addends)
        first = time.perf_counter() - began
        if first * len(some) >= _ENDURED * len(few):  # as with many views of each image
            self.meet()
            return len(few) / first
        began = time.perf_counter()
        predictor.probabilities(some.images, some.addends)
        first = time.perf_counter() - began
        self.meet()
        if first >= _LONG:
            return len(some) / first
        began, batches = time.perf_counter(), 0
        while (spent := time.perf_counter() - began) < seconds or not batches:
            predictor.probabilities(some.images, some.addends)
            batches += 1
        return batches * len(some) / spent


class _StopAfter(Callback):
    """Looks at the clock after every step, and stops the training when it was timed long enough.

    Attributes:
        warm: seconds from its making until the warm-up was over.
        warm_steps: taken until then; 0 while it lasts.
        step: seconds per step after that.
    """

    def __init__(self, seconds: float, meet: Barrier) -> None:
        self.seconds, self.meet = seconds, meet
        self.began = self.last = time.perf_counter()
        self.warm, self.warm_steps, self.step = 0.0, 0, 0.0

    def on_step(self, state: TrainingState) -> None:
        """Time it."""
        device = state.compute_config.device
        if not self.warm_steps:
            now, before = _now(device), self.last
            self.last = now
            if state.steps >= _WARM_UP or (state.steps > 1 and now - before >= _LONG):
                self.warm, self.warm_steps = now - self.began, state.steps
                self.meet()
                self.began = _now(device)
            return
        timed, spent = state.steps - self.warm_steps, time.perf_counter() - self.began
        if spent >= self.seconds and (timed >= _STEPS or spent >= _LONG):
            self.step = (_now(device) - self.began) / timed
            state.stop()


def _now(device: str) -> float:
    synchronize(device)
    return time.perf_counter()
