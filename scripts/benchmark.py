"""How much faster than the loop of most notebooks does softvote train, as well, and how soon is there a vote?

    python scripts/benchmark.py                                  # speed: benchmark.json, benchmark.png
    python scripts/benchmark.py --networks cnn resnet5 --repeats 5 --seconds 20
    python scripts/benchmark.py --accuracy --networks cnn        # accuracy.json
    python scripts/benchmark.py --to-vote                        # vote.json

Speed. Two loops train the same network on the same images, with the same ranges of rotation, shift and zoom:
(a) stock: float32, batches of 64 from a DataLoader with two workers, RandomAffine on PIL images, ToTensor,
    Normalize, Adam at 1e-3, cross-entropy; written out below, in one process with torch's own threads.
(b) ours: softvote.training.train with the member's recipe from pipelines/, less shear and elastic, which (a)
    lacks; in as many processes at once, with as many threads, as the local engine gives the pipeline.
The networks are softvote's in both; in (a) cnn and big_kernel_cnn have ReLU before pooling, as people write
them. slot_cnn learns digits from sums: in both, the loss is cross-entropy over the 37 sums, through
softvote's `digits` head.
Processes start and warm up once a network; then a and b work by turns, `repeats` times, so that what else the
machine does hits both. A lap is some steps that do not count, then `seconds` that do. Errors are standard
errors of the mean over repeats. A process's memory is its largest resident set, summed over the loop's
processes; pages that they share count in each.

Where (b)'s time goes is told by a lap of its own, in one process of one thread, in which Training's own
functions note when they begin and end. The machine's limit is the rate of one large 3 x 3 convolution, 64 to
64 channels, in (b)'s precision, processes and threads; an image costs three times its forward convolutions.

Accuracy: both loops train from the same seeds for the same epochs on the same slice of real digits, and name
the same digits held out. To-vote: from CSV files to a vote of the heterogeneous five that learnt four fifths,
by softvote's own commands in a temporary folder; beside it, what 30 epochs of the stock loop would take.

Tried on two cores of an AMD EPYC with bf16 instructions. Speed takes about three minutes a network as it
stands, accuracy half an hour in all, to-vote twelve minutes. Without input/digit-recognizer it takes the
digits that come with scikit-learn, enlarged to 28 x 28, and says so.
"""

# Annotations are not deferred: dataclasses cannot look theirs up in a module that was loaded by its path.

import argparse
import functools
import math
import multiprocessing
import os
import platform
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import (
    AbstractContextManager,
    ExitStack,
    contextmanager,
    nullcontext,
    suppress,
)
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal, NoReturn
from unittest import mock

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode
from torchvision import transforms

import softvote
from softvote.compute import machine
from softvote.compute.device import find_device
from softvote.compute.precision import ComputeConfig
from softvote.config.competition import Competition
from softvote.config.pipeline_file import load_pipeline
from softvote.config.recipe import Augment, Member
from softvote.data.dataset import load_dataset
from softvote.data.normalisation import Normalisation
from softvote.ensembling.predictions import score_from
from softvote.errors import UserError, one_of
from softvote.heads.digits import DigitsHead
from softvote.heads.softmax import SoftmaxHead
from softvote.inference.network import Network, create_network
from softvote.inference.predictor import Predictor
from softvote.metrics.scores import verdict_text
from softvote.reporting.tables import render
from softvote.scheduling.resources import split_cores
from softvote.storage.files import atomic_write, read_json, write_json, write_text
from softvote.storage.git import git_state
from softvote.storage.paths import Workspace
from softvote.training import learner
from softvote.training.augment import Augmenter, create_augmenter
from softvote.training.callbacks import Callback
from softvote.training.rows import Split
from softvote.training.state import TrainingState
from softvote.training.train import TrainingSpec, train

Facts = dict[str, Any]

ROOT = Path(__file__).resolve().parent.parent
FIVE = "digit-recognizer"
"""The pipeline of the heterogeneous five."""
SUMS = "digit-sum"
NETWORKS = {"cnn": FIVE, "big_kernel_cnn": FIVE, "resnet5": FIVE, "stn_cnn": FIVE, "slot_cnn": SUMS}
EPOCH = {FIVE: 42_000, SUMS: 24_000}
"""Images an epoch, for the times that are shown."""
AUGMENT = Augment(rotate=10, scale=0.1, shift=2)
STOCK_BATCH, STOCK_RATE, STOCK_WORKERS, STOCK_EPOCHS = 64, 1e-3, 2, 30
WARM_UP = 8
"""Steps before each lap that do not count: more than a DataLoader's workers hold ready after a pause."""
FOREVER = 10_000
"""Epochs; no lap lasts that long."""
REFERENCE = 99.61
"""Accuracy of the heterogeneous five as published, %."""
MOST_SCORED = 10_000
INTERRUPTED = 130


@dataclass(frozen=True)
class Case:
    """One network on its competition.

    Attributes:
        member: with the augmentation that both loops have.
        times: how many members of the pipeline are of this network.
        trainings: of the whole pipeline.
    """

    network: str
    competition: Competition
    member: Member
    times: int
    trainings: int

    @property
    def epoch(self) -> int:
        return EPOCH[self.competition.name]


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0, 1 after a mistake of the user, or 130 after Ctrl-C; both are told in a line."""
    try:
        parsed = _parsed(arguments)
        with tempfile.TemporaryDirectory(prefix="softvote-benchmark-") as folder:
            root = Path(folder)
            cases = [_case(network) for network in parsed.networks]
            origins = lay_out_inputs(root, {case.competition.name for case in cases}, parsed)
            for competition in {case.competition.name: case.competition for case in cases}.values():
                load_dataset(competition, Workspace(root))  # so that every process finds it read
            facts = _head(origins) | parsed.mode(cases, root, parsed)
            parsed.write(facts, parsed.to)
    except UserError as error:
        for line in str(error).splitlines():
            print(f"benchmark: {line}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("benchmark: stopped; nothing was written", file=sys.stderr)
        return INTERRUPTED
    return 0


def _case(network: str) -> Case:
    pipeline = load_pipeline(ROOT / "pipelines" / f"{NETWORKS[network]}.yaml")
    members = [member for member in pipeline.members.values() if member.model == network]
    member = members[0].model_copy(update={"augment": AUGMENT})
    trainings = len(pipeline.members) * len(pipeline.folds.trained)
    return Case(network, pipeline.competition, member, len(members), trainings)


def _head(origins: dict[str, str]) -> Facts:
    """When, where, with what and on what."""
    for name, origin in origins.items():
        print(f"{name}: {origin}")
    commit, clean = git_state(ROOT)
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "processor": machine.processor(),
            "cores": split_cores(1)[1],
            "instructions": torch.backends.cpu.get_cpu_capability(),
            "device": find_device(),
            "system": platform.platform(),
        },
        "versions": {
            "softvote": softvote.__version__,
            "commit": commit if clean or not commit else f"{commit}, changed",
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "torchvision": torchvision.__version__,
        },
        "data": origins,
    }


def _tell(text: str) -> None:
    """A line of progress."""
    print(text, file=sys.stderr, flush=True)


# ---------------------------------------------------------------- words of the command line


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; --help says what there is")


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _Parser(description=__doc__.splitlines()[0])
    modes = parser.add_mutually_exclusive_group()
    modes.add_argument("--accuracy", action="store_true", help="compare accuracy instead of speed")
    modes.add_argument("--to-vote", action="store_true", help="time the way from CSV files to a vote instead")
    parser.add_argument(
        "--networks", nargs="+", default=[*NETWORKS], metavar="NAME", help=", ".join(NETWORKS)
    )
    parser.add_argument("--data", type=Path, help="folder of Digit Recognizer (input/digit-recognizer)")
    parser.add_argument("--sums", type=Path, help="folder of digit-sum, for slot_cnn (input/digit-sum)")
    parser.add_argument("--repeats", type=int, default=3, help="laps of each loop (%(default)s)")
    parser.add_argument("--seconds", type=float, default=10, help="that count in a lap (%(default)s)")
    parser.add_argument("--seeds", type=int, default=5, help="accuracy: trainings of each (%(default)s)")
    parser.add_argument("--epochs", type=int, default=4, help="accuracy: of each training (%(default)s)")
    parser.add_argument("--rows", type=int, default=8000, help="accuracy: to learn from (%(default)s)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="to-vote: over the pipeline (repeatable)",
    )
    parser.add_argument("--to", type=Path, default=Path("docs/benchmark"), help="folder (%(default)s)")
    parsed = parser.parse_args(arguments)
    _check(parsed)
    parsed.mode, parsed.write = compare_speed, write_speed
    if parsed.accuracy:
        parsed.mode, parsed.write = compare_accuracy, functools.partial(_write, "accuracy.json")
    elif parsed.to_vote:
        parsed.mode, parsed.write = time_to_vote, functools.partial(_write, "vote.json")
        parsed.networks = [network for network, pipeline in NETWORKS.items() if pipeline == FIVE]
    return parsed


def _check(parsed: argparse.Namespace) -> None:
    for network in parsed.networks:
        if network not in NETWORKS:
            raise UserError(f"--networks {network}: no such network; {one_of([*NETWORKS], network)}")
    for option, least in (("repeats", 2), ("seeds", 2), ("epochs", 1), ("rows", 2)):
        if getattr(parsed, option) < least:
            raise UserError(f"--{option} {getattr(parsed, option)}: too few; give {least} or more")
    if not 0 < parsed.seconds < math.inf:
        raise UserError(f"--seconds {parsed.seconds:g}: no time to measure in; give 10")
    parsed.networks = list(dict.fromkeys(parsed.networks))


def _write(name: str, facts: Facts, folder: Path) -> None:
    write_json(folder / name, facts)
    print(f"wrote {folder / name}")


# ---------------------------------------------------------------- images


def lay_out_inputs(root: Path, competitions: set[str], parsed: argparse.Namespace) -> dict[str, str]:
    """Bring the competitions' files under `root`; where each is from, in words.

    Raises:
        UserError: a folder that was named is not there.
    """
    origins = {}
    makers = {FIVE: (parsed.data, _digits_of_scikit_learn), SUMS: (parsed.sums, _sums_of_digits)}
    for name in sorted(competitions | {FIVE}):  # sums may be made of the digits
        named, make = makers[name]
        source, place = named or Path("input") / name, Workspace(root).input(name)
        if source.is_dir():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(source.resolve())
            origins[name] = str(source)
        elif named:
            raise UserError(f"{named}: no such folder; name one of {name}'s files, or leave the option out")
        else:
            origins[name] = make(root, place)
    return {name: origins[name] for name in origins if name in competitions}


def _digits_of_scikit_learn(root: Path, place: Path) -> str:
    """1,797 digits of 8 x 8 at three times their size; every sixth is a test image."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    larger = np.round(digits.images * (255 / 16)).astype(np.uint8).repeat(3, axis=1).repeat(3, axis=2)
    pixels = np.pad(larger, ((0, 0), (2, 2), (2, 2))).reshape(len(larger), -1)
    is_test = np.arange(len(pixels)) % 6 == 5
    columns = [f"pixel{index}" for index in range(pixels.shape[1])]
    labelled = np.column_stack([digits.target, pixels])[~is_test]
    forms = [(row, 0) for row in range(1, is_test.sum() + 1)]
    write_text(place / "train.csv", _csv(["label", *columns], labelled))
    write_text(place / "test.csv", _csv(columns, pixels[is_test]))
    write_text(place / "sample_submission.csv", _csv(["ImageId", "Label"], forms))
    return "input/digit-recognizer is missing: scikit-learn's digits, enlarged to 28 x 28"


def _sums_of_digits(root: Path, place: Path) -> str:
    """2,000 images of four digits each, in three parts as the competition has them."""
    import four_digits  # the program beside this one

    from softvote.data.readers.digits import read_csv

    source = read_csv(Workspace(root).input(FIVE) / "train.csv")
    made = four_digits.make(source, 2000, seed=2026)
    place.mkdir(parents=True)
    parts = zip(np.array_split(made.images, 4), np.array_split(made.labels, 4), strict=True)
    for part, (images, labels) in enumerate(parts):
        name = f"data{part}.npy" if part < 3 else "test.npy"
        np.save(place / name, images)
        if part < 3:
            np.save(place / f"lab{part}.npy", labels)
    write_text(place / "sample_submission.csv", _csv(["Id", "Sum"], [(row, 0) for row in range(len(images))]))
    return "input/digit-sum is missing: made of the digits by scripts/four_digits.py"


def _csv(header: Sequence[str], rows: Any) -> str:
    return "\n".join([",".join(header), *(",".join(map(str, row)) for row in rows), ""])


@dataclass(frozen=True)
class Images:
    """Pixels uint8 (n, C, H, W), and what they show, int64 (n,)."""

    pixels: NDArray[np.uint8]
    values: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64]) -> "Images":
        return Images(self.pixels[rows], self.values[rows])


def images_of(case: Case, root: Path) -> Images:
    """The training images of a case's competition."""
    dataset = load_dataset(case.competition, Workspace(root))
    return Images(dataset.train_pixels, dataset.train_values)


# ---------------------------------------------------------------- (a) the stock loop


class PilImages(Dataset[tuple[Tensor, int]]):
    """A data set as notebooks write it: one PIL image at a time, transformed."""

    def __init__(self, images: Images, normalisation: Normalisation) -> None:
        height, width = images.pixels.shape[2:]
        zoom, shift = AUGMENT.scale, AUGMENT.shift
        self.images = images
        self.transform = transforms.Compose(
            [
                transforms.RandomAffine(
                    AUGMENT.rotate, translate=(shift / width, shift / height), scale=(1 - zoom, 1 + zoom)
                ),
                transforms.ToTensor(),
                transforms.Normalize(*(
                    [level / 255 for level in levels] for levels in (normalisation.mean, normalisation.std)
                )),
            ]
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.images.values)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images.pixels[row, 0])), int(self.images.values[row])


def as_people_write_it(model: nn.Module) -> nn.Module:
    """The network with each ReLU before the pooling that stands before it in ours: the same function."""
    for block in [module for module in model.modules() if isinstance(module, nn.Sequential)]:
        if [type(layer) for layer in block[1:]] == [nn.BatchNorm2d, nn.MaxPool2d, nn.ReLU]:
            block[2], block[3] = block[3], block[2]
    return model


def train_stock(
    case: Case, images: Images, epochs: int, seed: int, after_step: Callable[[int], None]
) -> Predictor:
    """The loop that people write; `after_step` is told how many images each step had."""
    torch.manual_seed(seed)
    device, normalisation = find_device(), Normalisation.of(torch.from_numpy(images.pixels))
    network = create_network(case.member, case.competition.task, images.pixels.shape[1:])
    model = as_people_write_it(network.model).to(device)
    left_over = len(images.values) % STOCK_BATCH == 1  # batch norm cannot learn from one image
    loader: DataLoader[Any] = DataLoader(
        PilImages(images, normalisation), STOCK_BATCH, shuffle=True, num_workers=STOCK_WORKERS,
        drop_last=left_over,
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), STOCK_RATE)
    model.train()
    for _ in range(epochs):
        for inputs, labels in loader:
            inputs, labels = inputs.to(device), labels.to(device)
            optimizer.zero_grad()
            loss = network.head.loss(model(inputs), labels)  # cross-entropy; of sums where digits hide
            loss.backward()
            optimizer.step()
            after_step(len(labels))
    return Predictor(network, normalisation, ComputeConfig(device, "fp32", "contiguous"))


# ---------------------------------------------------------------- (b) ours


def train_ours(
    case: Case, images: Images, epochs: int, seed: int, callbacks: Sequence[Callback] = ()
) -> Predictor:
    """A training as the train stage does it, without its files."""
    plain = min(case.member.plain_epochs, epochs - 1)
    member = case.member.model_copy(update={"epochs": epochs, "plain_epochs": plain})
    pixels, values = torch.from_numpy(images.pixels), torch.from_numpy(images.values)
    rows = Split(pixels, values, np.arange(len(values)))
    spec = TrainingSpec(member, case.competition.task, seed, f"{case.network}, ours, seed {seed}")
    trained = train(spec, rows, callbacks)
    return Predictor(trained.network, trained.normalisation, trained.compute_config)


def as_the_command_does() -> AbstractContextManager[Any]:
    """The environment in which `softvote train` starts; see softvote.cli.main."""
    return mock.patch.dict(os.environ, {"OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "passive")})


# ---------------------------------------------------------------- laps, in the loops' own processes


class Enough(Exception):  # noqa: N818 (nothing went wrong)
    """No more laps."""


@dataclass(frozen=True)
class Order:
    """What a loop shall do: a lap of some seconds, a rest, the large convolution, or stop."""

    what: Literal["lap", "rest", "limit", "stop"]
    seconds: float = 0.0
    threads: int | None = None


class Laps:
    """Counts the steps of a loop in one process, when it is told to.

    Between the end of a lap and the next order the loop goes on, so that of several loops side by side
    none has the machine for itself within its lap.

    Args:
        line: to the process that gives orders.
        stopwatch: tells where the time of a lap went.
    """

    def __init__(self, line: Connection, stopwatch: "Stopwatch | None" = None) -> None:
        self.line, self.stopwatch = line, stopwatch
        self.is_ready = self.is_counting = False
        self.warming = self.images = 0
        self.started = self.seconds = 0.0

    def step_ended(self, images: int, compute_config: ComputeConfig | None = None) -> None:
        """Call after every step."""
        if not self.is_ready:  # the first step: everything is built and tuned
            self.is_ready = True
            self.line.send("ready")
            self._obey(compute_config)
        elif self.line.poll():
            self._obey(compute_config)
        elif self.warming:
            self.warming -= 1
            if not self.warming:
                self._start()
        elif self.is_counting:
            self.images += images
            if time.perf_counter() - self.started >= self.seconds:
                self._finish()

    def _obey(self, compute_config: ComputeConfig | None) -> None:
        while (order := self.line.recv()).what in ("rest", "limit"):
            if order.what == "limit" and compute_config:
                torch.set_num_threads(order.threads)
                self.line.send({"rate": convolution_rate(compute_config)})
        if order.what == "stop":
            raise Enough
        if order.threads:
            torch.set_num_threads(order.threads)
        self.warming, self.seconds, self.is_counting = WARM_UP, order.seconds, False

    def _start(self) -> None:
        synchronise()
        self.images, self.is_counting, self.started = 0, True, time.perf_counter()
        if self.stopwatch:
            self.stopwatch.start()

    def _finish(self) -> None:
        synchronise()
        found: Facts = {"rate": self.images / (time.perf_counter() - self.started)}
        if self.stopwatch:
            found["shares"] = self.stopwatch.shares()
        self.is_counting = False
        self.line.send(found)


def synchronise() -> None:
    """Wait until the device has done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


class Stopwatch:
    """Tells the parts of a training's steps apart. A part within another is its own, and not the other's."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        self.seconds = defaultdict[str, float](float)
        self.part, self.since = "rest", time.perf_counter()

    def switch(self, part: str) -> str:
        """Another part begins; the one that is interrupted."""
        synchronise()
        now, before = time.perf_counter(), self.part
        self.seconds[before] += now - self.since
        self.part, self.since = part, now
        return before

    def shares(self) -> dict[str, float]:
        """Of the time since the start, by part; they sum to 1."""
        self.switch(self.part)
        total = sum(self.seconds.values())
        return {part: self.seconds[part] / total for part in PARTS}

    def timing(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, its time noted."""

        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            before = self.switch(part)
            try:
                return function(*args, **kwargs)
            finally:
                self.switch(before)

        return timed


PARTS = ["gather", "augmentation", "normalise, lay out", "forward", "loss", "backward", "optimiser", "rest"]
"""Rest is the loop around the steps, the learning rate, and counting right answers."""
FUNCTIONS: list[tuple[str, Any, str]] = [
    ("gather", Split, "take"),
    ("normalise, lay out", Normalisation, "__call__"),
    ("normalise, lay out", ComputeConfig, "to_memory_format"),
    ("forward", Network, "outputs"),
    ("loss", SoftmaxHead, "loss"),
    ("loss", DigitsHead, "loss"),
    ("backward", Tensor, "backward"),
]


@contextmanager
def watched(stopwatch: Stopwatch) -> Iterator[None]:
    """Trainings that begin and end in here tell the stopwatch what they do."""

    def create_watched(spec: Augment | None) -> Augmenter:
        return stopwatch.timing("augmentation", create_augmenter(spec))

    def begins(*_: Any) -> None:
        stopwatch.switch("optimiser")

    def ends(*_: Any) -> None:
        stopwatch.switch("rest")

    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(learner, "create_augmenter", create_watched))
        for part, owner, name in FUNCTIONS:
            timed = stopwatch.timing(part, getattr(owner, name))
            stack.enter_context(mock.patch.object(owner, name, timed))
        stack.callback(register_optimizer_step_pre_hook(begins).remove)
        stack.callback(register_optimizer_step_post_hook(ends).remove)
        yield


def run_stock(line: Connection, case: Case, root: Path) -> Facts:
    """Laps of the stock loop."""
    laps, threads = Laps(line), torch.get_num_threads()
    with suppress(Enough):
        train_stock(case, images_of(case, root), FOREVER, 0, laps.step_ended)
    return {"peak_memory_mib": peak_memory_mib(STOCK_WORKERS), "threads": threads}


class CountSteps(Callback):
    """Tells the laps of every step of a training of ours."""

    def __init__(self, laps: Laps) -> None:
        self.laps = laps

    def on_start(self, state: TrainingState) -> None:
        self.compute_config = state.compute_config

    def on_step(self, state: TrainingState) -> None:
        self.laps.step_ended(state.batch_rows, state.compute_config)


def run_ours(
    line: Connection, case: Case, root: Path, threads: int, seed: int, stopwatch: Stopwatch | None = None
) -> Facts:
    """Laps of a training of ours."""
    torch.set_num_threads(threads)
    counting = CountSteps(Laps(line, stopwatch))
    with suppress(Enough):
        train_ours(case, images_of(case, root), FOREVER, seed, [counting])
    return {
        "peak_memory_mib": peak_memory_mib(),
        "threads": threads,
        "execution": counting.compute_config.facts(),
    }


def run_ours_in_parts(line: Connection, case: Case, root: Path) -> Facts:
    """The same on one thread, with the parts of a step told apart."""
    stopwatch = Stopwatch()
    with watched(stopwatch):
        return run_ours(line, case, root, 1, 0, stopwatch)


def peak_memory_mib(workers: int = 0) -> int:
    """The largest resident set of this process, and as many of its largest child's as it had workers."""
    peaks = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return (peaks[0] + workers * peaks[1]) // (1 << 20 if sys.platform == "darwin" else 1 << 10)


# ---------------------------------------------------------------- the machine's limit


def convolution_rate(compute_config: ComputeConfig, seconds: float = 1.0) -> float:
    """FLOP/s of a 3 x 3 convolution, 64 to 64 channels, of 64 images of 56 x 56."""
    dtype = torch.bfloat16 if compute_config.precision == "bf16" else torch.float32
    layer = compute_config.to_device(nn.Conv2d(64, 64, 3, padding=1, bias=False)).to(dtype)
    images = compute_config.to_memory_format(torch.randn(64, 64, 56, 56).to(compute_config.device, dtype))
    with torch.no_grad():
        layer(images)
        synchronise()
        started, rounds = time.perf_counter(), 0
        while time.perf_counter() - started < seconds:
            layer(images)
            synchronise()
            rounds += 1
        spent = time.perf_counter() - started
    return rounds * 2 * images.numel() * 64 * 3 * 3 / spent


def convolution_flops(model: nn.Module, image: tuple[int, ...]) -> int:
    """Of one image (C, H, W) forward; a multiplication and an addition are two."""
    model.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, *image))
    return int(counter.get_flop_counts()["Global"].get(torch.ops.aten.convolution, 0))


# ---------------------------------------------------------------- the loops, seen from the measuring process

# Spawned, not forked: each loop starts from its own environment, and threads are not forked along.
_context = multiprocessing.get_context("spawn")


def _serve(line: Connection, body: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    # A spawned process spawns its children too, and a DataLoader's workers would take seconds to start
    # in every epoch; in a notebook they start the system's way.
    multiprocessing.set_start_method(None, force=True)  # type: ignore[arg-type]
    with suppress(EOFError, ConnectionError):  # the measuring process is gone
        try:
            line.send(body(line, *arguments))
        except UserError as error:
            line.send(error)


class Loop:
    """A process that runs `body(line, *arguments)` and gives what it returns, or its UserError."""

    def __init__(self, name: str, body: Callable[..., Any], *arguments: Any) -> None:
        self.name = name
        self.line, theirs = _context.Pipe()
        self.process = _context.Process(target=_serve, args=(theirs, body, arguments), name=name)
        # Ctrl-C reaches every process of the terminal; this one alone answers it, and ends the others.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        theirs.close()

    def order(self, order: Order) -> None:
        with suppress(OSError):  # of one that has ended, `receive` tells
            self.line.send(order)

    def receive(self) -> Any:
        """What the process says next.

        Raises:
            UserError: what it could not do, or that it ended without a word.
        """
        try:
            found = self.line.recv()
        except (EOFError, OSError):
            self.process.join()
            code = self.process.exitcode
            raise UserError(
                f"{self.name}: its process ended with exit code {code}; it says why above"
            ) from None
        if isinstance(found, UserError):
            raise found
        return found

    def close(self) -> None:
        """A loop ends at its next step when nobody listens."""
        self.line.close()
        self.process.join(10)
        self.process.terminate()
        self.process.join()


@contextmanager
def loops(*starts: tuple[Any, ...]) -> Iterator[list[Loop]]:
    """Processes side by side, each warmed up and at rest; ended when the block ends."""
    with ExitStack() as stack:
        started = []
        for start in starts:
            started.append(Loop(*start))
            stack.callback(started[-1].close)
        for loop in started:
            loop.receive()
        yield started


def lap(running: Sequence[Loop], order: Order) -> list[Facts]:
    """One lap of loops side by side; what each found."""
    for loop in running:
        loop.order(order)
    found = [loop.receive() for loop in running]
    for loop in running:
        loop.order(Order("rest"))
    return found


def rate(running: Sequence[Loop], order: Order) -> float:
    """Images, or operations, a second of loops side by side."""
    return float(sum(found["rate"] for found in lap(running, order)))


def dismiss(running: Sequence[Loop]) -> list[Facts]:
    """Stop loops; what each says of itself."""
    for loop in running:
        loop.order(Order("stop"))
    return [loop.receive() for loop in running]


# ---------------------------------------------------------------- speed


def compare_speed(cases: Sequence[Case], root: Path, parsed: argparse.Namespace) -> Facts:
    """Measure, and print the tables."""
    before, networks = os.getloadavg()[0], dict[str, Facts]()
    for case in cases:
        networks[case.network] = _speed(case, root, parsed.repeats, parsed.seconds)
    facts: Facts = {
        "settings": {"repeats": parsed.repeats, "seconds": parsed.seconds, "warm_up_steps": WARM_UP},
        "augmentation": AUGMENT.model_dump(exclude_defaults=True),
        "networks": networks,
    }
    if {name for name, pipeline in NETWORKS.items() if pipeline == FIVE} <= networks.keys():
        facts["heterogeneous_five"] = whole_five(networks)
    facts["load_average"] = {"before": round(before, 2), "after": round(os.getloadavg()[0], 2)}
    facts["notes"] = notes(facts)
    print(speed_table(facts))
    print(time_table(networks), end="")
    for note in facts["notes"]:
        print(note)
    return facts


def _speed(case: Case, root: Path, repeats: int, seconds: float) -> Facts:
    """Both loops on one network, by turns."""
    (at_once, threads), all_threads = split_cores(case.trainings), split_cores(1)[1]
    rates = dict[str, list[float]](stock=[], ours=[], alone=[], limit=[])
    _tell(f"{case.network}: stock loop, and ours in {at_once} x {threads} (processes x threads), warm up")
    with ExitStack() as stack:
        stock = stack.enter_context(loops((f"{case.network}, stock", run_stock, case, root)))
        with as_the_command_does():
            starts = [
                (f"{case.network}, ours", run_ours, case, root, threads, seed) for seed in range(at_once)
            ]
            ours = stack.enter_context(loops(*starts))
        for repeat in range(repeats):
            rates["stock"].append(rate(stock, Order("lap", seconds)))
            rates["ours"].append(rate(ours, Order("lap", seconds, threads)))
            rates["alone"].append(rate(ours[:1], Order("lap", seconds, all_threads)))
            rates["limit"].append(rate(ours, Order("limit", threads=threads)))
            _tell(_in_a_line(case, repeat, repeats, rates))
        of_stock, of_ours = dismiss(stock), dismiss(ours)
    with as_the_command_does(), loops((case.network, run_ours_in_parts, case, root)) as running:
        [found] = lap(running, Order("lap", seconds, 1))
        dismiss(running)
    return _speed_facts(case, rates, of_stock, of_ours, all_threads) | {"parts": found["shares"]}


def _in_a_line(case: Case, repeat: int, repeats: int, rates: dict[str, list[float]]) -> str:
    stock, ours, alone, limit = (each[-1] for each in rates.values())
    return (
        f"{case.network}, repeat {repeat + 1} of {repeats}: stock {stock:,.0f}, ours {ours:,.0f} images/s "
        f"({alone:,.0f} alone), {ours / stock:.2f} times; large convolution {limit / 1e9:,.0f} GFLOP/s"
    )


def _speed_facts(
    case: Case,
    rates: dict[str, list[float]],
    of_stock: list[Facts],
    of_ours: list[Facts],
    all_threads: int,
) -> Facts:
    """All that was found of one network; a standard error beside every mean."""
    task, image = case.competition.task, case.competition.image
    shape = (image.channels, image.height, image.width)
    flops = convolution_flops(create_network(case.member, task, shape).model, shape)
    at_limit = [each / (3 * flops) for each in rates["limit"]]
    return {
        "times_in_the_five": case.times if NETWORKS[case.network] == FIVE else 0,
        "images_an_epoch": case.epoch,
        "stock": _loop_facts(case, rates["stock"], of_stock)
        | {"batch_size": STOCK_BATCH, "data_workers": STOCK_WORKERS},
        "ours": _loop_facts(case, rates["ours"], of_ours)
        | {"batch_size": case.member.batch_size, "executions": [each["execution"] for each in of_ours]},
        "ours_alone": _rates(case, rates["alone"]) | {"threads": all_threads},
        "ratio": summary(_divided(rates["ours"], rates["stock"])),
        "ratio_alone": summary(_divided(rates["alone"], rates["stock"])),
        "limit": {
            "convolution_flops_forward": flops,
            "flops_per_second": summary(rates["limit"]),
            "images_per_second": summary(at_limit),
            "our_share": summary(_divided(rates["ours"], at_limit)),
        },
    }


def _loop_facts(case: Case, rates: list[float], processes: list[Facts]) -> Facts:
    return _rates(case, rates) | {
        "processes": len(processes),
        "threads": processes[0]["threads"],
        "peak_memory_mib": sum(each["peak_memory_mib"] for each in processes),
    }


def _rates(case: Case, rates: list[float]) -> Facts:
    return {
        "images_per_second": summary(rates),
        "seconds_an_epoch": summary([case.epoch / each for each in rates]),
    }


def summary(each: list[float]) -> Facts:
    """Two numbers or more, their mean and its standard error."""
    error = statistics.stdev(each) / math.sqrt(len(each))
    return {"each": each, "mean": statistics.fmean(each), "standard_error": error}


def _divided(above: Sequence[float], below: Sequence[float]) -> list[float]:
    return [a / b for a, b in zip(above, below, strict=True)]


def whole_five(networks: dict[str, Facts]) -> Facts:
    """An epoch of every member of the heterogeneous five, repeat by repeat."""
    sums = {}
    for loop in ("stock", "ours", "ours_alone"):
        each = [
            [facts["times_in_the_five"] * seconds for seconds in facts[loop]["seconds_an_epoch"]["each"]]
            for facts in networks.values()
        ]
        sums[loop] = [sum(repeat) for repeat in zip(*each, strict=True)]
    return {
        "seconds_an_epoch": {loop: summary(seconds) for loop, seconds in sums.items()},
        "ratio": summary(_divided(sums["stock"], sums["ours"])),
        "ratio_alone": summary(_divided(sums["stock"], sums["ours_alone"])),
    }


def notes(facts: Facts) -> list[str]:
    """What a reader of the tables must know."""
    load, own = facts["load_average"], split_cores(1)[1] + STOCK_WORKERS
    found = []
    if load["before"] > 0.5 or load["after"] > own + 1:
        found.append(
            f"other programs use this machine: load average {load['before']:g} before the first lap, "
            f"{load['after']:g} after the last, where ours cause {own} at most; the stock loop's threads and "
            "workers wait for each other and lose more by it than ours do: measure again on an idle machine"
        )
    for name, network in facts["networks"].items():
        ran = {f"{each['precision']} {each['memory_format']}" for each in network["ours"]["executions"]}
        if len(ran) > 1:
            found.append(
                f"{name}: the processes of ours chose different precisions: {', '.join(sorted(ran))}"
            )
    return found


# ---------------------------------------------------------------- what is shown of it


def speed_table(facts: Facts) -> str:
    """A line a network, and one for the whole heterogeneous five."""
    header = ["network", "stock images/s", "ours images/s", "one process", "stock s/epoch", "ours s/epoch"]
    header += ["stock MiB", "ours MiB", "ratio"]
    lines = []
    for name, found in facts["networks"].items():
        stock, ours, alone = found["stock"], found["ours"], found["ours_alone"]
        speeds = [_shown(each["images_per_second"], 0) for each in (stock, ours, alone)]
        times = [_shown(each["seconds_an_epoch"], 1) for each in (stock, ours)]
        memory = [f"{each['peak_memory_mib']:,}" for each in (stock, ours)]
        lines.append([name, *speeds, *times, *memory, _shown(found["ratio"], 2)])
    if five := facts.get("heterogeneous_five"):
        times = [_shown(five["seconds_an_epoch"][loop], 1) for loop in ("stock", "ours")]
        lines.append(["the whole five", "", "", "", *times, "", "", _shown(five["ratio"], 2)])
    return render(header, lines)


def time_table(networks: dict[str, Facts]) -> str:
    """Where our time goes, and how far the machine could go."""
    lines = []
    for name, found in networks.items():
        parts = [f"{100 * found['parts'][part]:.1f}" for part in PARTS]
        limit, percent = found["limit"], {key: 100 * value for key, value in _plain(found).items()}
        lines.append([name, *parts, _shown(limit["images_per_second"], 0), f"{_shown(percent, 0)} %"])
    return render(["% of our time", *PARTS, "limit images/s", "ours of it"], lines)


def _plain(found: Facts) -> dict[str, float]:
    our_share = found["limit"]["our_share"]
    return {key: our_share[key] for key in ("mean", "standard_error")}


def _shown(of: Facts, decimals: int) -> str:
    return f"{of['mean']:,.{decimals}f} ± {of['standard_error']:,.{decimals}f}"


def write_speed(facts: Facts, folder: Path) -> None:
    """benchmark.json and benchmark.png, both or none."""
    with atomic_write(folder / "benchmark.png") as temporary:
        draw_speed(facts["networks"]).savefig(temporary)
        write_json(folder / "benchmark.json", facts)
    print(f"wrote {folder / 'benchmark.json'} and benchmark.png")


def draw_speed(networks: dict[str, Facts]) -> Any:
    """A figure of images a second, the ratio on top; a panel a competition, whose images differ in size."""
    from matplotlib.figure import Figure

    shown = [[name for name in networks if NETWORKS[name] == pipeline] for pipeline in EPOCH]
    panels = [names for names in shown if names]
    figure = Figure(figsize=(1.6 * len(networks) + 2.4, 3.6), dpi=110, layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False, width_ratios=[len(names) for names in panels])[0]
    for axis, names in zip(axes, panels, strict=True):
        for shift, loop in ((-0.2, "stock"), (0.2, "ours")):
            found = [networks[name][loop]["images_per_second"] for name in names]
            axis.bar(
                [place + shift for place in range(len(names))], [each["mean"] for each in found], 0.38,
                yerr=[each["standard_error"] for each in found], capsize=3, label=loop,
            )  # fmt: skip
        for place, name in enumerate(names):
            speed = networks[name]["ours"]["images_per_second"]
            ratio = _shown(networks[name]["ratio"], 2)
            top = speed["mean"] + speed["standard_error"]
            axis.annotate(f"{ratio} ×", (place, top), (0, 4), textcoords="offset points", ha="center")
        axis.set_xticks(range(len(names)), labels=names)
        axis.set_xlim(-0.6, len(names) - 0.4)
        axis.margins(y=0.15)
        axis.set_title(NETWORKS[names[0]], fontsize=10)
    axes[0].set_ylabel("images a second, training")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


# ---------------------------------------------------------------- accuracy


def compare_accuracy(cases: Sequence[Case], root: Path, parsed: argparse.Namespace) -> Facts:
    """Both loops from the same seeds on the same slice; print which is better, if any."""
    found, lines = dict[str, Facts](), []
    for case in cases:
        each = found[case.network] = _accuracies(case, root, parsed)
        stock, ours = each["stock"], each["ours"]
        difference = ours["mean"] - stock["mean"]
        error = math.hypot(stock["standard_error"], ours["standard_error"])
        each["difference"] = {"mean": difference, "standard_error": error}
        each["in_words"] = f"ours is {verdict_text(difference, error)}".replace(
            "is noise", "differs by noise"
        )
        shown = [_shown({key: 100 * of[key] for key in ("mean", "standard_error")}, 3)
                 for of in (stock, ours, each["difference"])]  # fmt: skip
        lines.append([case.network, f"{each['rows']:,}", f"{each['scored']:,}", *shown, each["in_words"]])
    print(f"\n{parsed.epochs} epochs, {parsed.seeds} seeds; accuracy in %, its standard error over the seeds")
    print(render(["network", "rows", "scored", "stock", "ours", "difference", "in words"], lines), end="")
    return {
        "settings": {"seeds": parsed.seeds, "epochs": parsed.epochs, "rows": parsed.rows},
        "networks": found,
    }


def _accuracies(case: Case, root: Path, parsed: argparse.Namespace) -> Facts:
    """Of every seed's training by both loops, by turns."""
    learnt, scored = slices(len(images_of(case, root).values), parsed.rows)
    bodies = {"stock": accuracy_of_stock, "ours": accuracy_of_ours}
    found = dict[str, list[float]](stock=[], ours=[])
    for seed in range(parsed.seeds):
        for name, body in bodies.items():
            label = f"{case.network}, {name}, seed {seed}"
            with as_the_command_does() if name == "ours" else nullcontext():
                loop = Loop(label, body, case, root, learnt, scored, parsed.epochs, seed)
            try:
                found[name].append(loop.receive())
            finally:
                loop.close()
            _tell(f"{label} of {parsed.seeds}: {100 * found[name][-1]:.2f} %")
    sizes = {"rows": len(learnt), "scored": len(scored)}
    return sizes | {name: summary(each) for name, each in found.items()}


def slices(count: int, rows: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows to learn from, at most two thirds of all, and others to score."""
    order = np.random.default_rng(2026).permutation(count)
    learnt, others = np.split(order, [min(rows, 2 * count // 3)])
    return learnt, others[:MOST_SCORED]


def accuracy_of_stock(
    line: Connection, case: Case, root: Path, learnt: NDArray[np.int64], scored: NDArray[np.int64],
    epochs: int, seed: int,
) -> float:  # fmt: skip
    """Share of the scored rows that a training by the stock loop names right."""
    images = images_of(case, root)
    return _accuracy(
        train_stock(case, images.take(learnt), epochs, seed, lambda _: None), images.take(scored)
    )


def accuracy_of_ours(
    line: Connection, case: Case, root: Path, learnt: NDArray[np.int64], scored: NDArray[np.int64],
    epochs: int, seed: int,
) -> float:  # fmt: skip
    """Share of the scored rows that a training of ours names right."""
    torch.set_num_threads(split_cores(case.trainings)[1])  # as the local engine; some layers depend on it
    images = images_of(case, root)
    return _accuracy(train_ours(case, images.take(learnt), epochs, seed), images.take(scored))


def _accuracy(predictor: Predictor, images: Images) -> float:
    return float((predictor.probabilities(images.pixels).argmax(1) == images.values).mean())


# ---------------------------------------------------------------- from CSV files to a vote


def time_to_vote(cases: Sequence[Case], root: Path, parsed: argparse.Namespace) -> Facts:
    """Run the stages, then the stock loop for comparison; print minutes and the vote's accuracy."""
    path = ROOT / "pipelines" / f"{FIVE}.yaml"
    settings = ["folds.train=1", *parsed.set]
    pipeline = load_pipeline(path, settings)
    workspace = Workspace(root)
    minutes = {stage: _minutes_of(stage, path, root, settings) for stage in ("folds", "train", "ensemble")}
    scores = workspace.pipeline(FIVE).predictions(pipeline.ensemble.name).scores
    score = score_from(read_json(scores)["accuracy"])
    rows = len(images_of(cases[0], root).values) - score.rows
    stock = {case.network: _stock_minutes(case, root, rows, parsed) for case in cases}
    total, of_stock = sum(minutes.values()), sum(stock.values())
    lower = REFERENCE / 100 - score.value
    reaches = "reaches" if lower <= 2 * score.standard_error else "does not reach"
    if lower > 0 and reaches == "reaches":
        reaches = "is within two standard errors of"
    print(
        f"from CSV to the vote: {total:.1f} minutes ({', '.join(f'{s} {m:.1f}' for s, m in minutes.items())})"
    )
    print(f"the vote on a held-out part of {score.rows:,} rows: {score}; it {reaches} {REFERENCE} %")
    print(f"{STOCK_EPOCHS} epochs of the stock loop on {rows:,} rows: {of_stock:.0f} minutes, as it runs now")
    return {
        "settings": settings,
        "minutes": minutes | {"total": total},
        "accuracy": {"value": score.value, "standard_error": score.standard_error, "rows": score.rows},
        "stock_minutes": stock | {"total": of_stock, "epochs": STOCK_EPOCHS, "rows": rows},
    }


def _minutes_of(stage: str, pipeline: Path, root: Path, settings: Sequence[str]) -> float:
    """Run one command, as a person does."""
    words = [sys.executable, "-m", "softvote", "--root", str(root), stage, str(pipeline)]
    words += [word for setting in settings for word in ("--set", setting)]
    _tell(f"softvote {stage}")
    started = time.perf_counter()
    # In a process group of its own, because Ctrl-C is answered here, in one line.
    process = subprocess.Popen(words, stdout=sys.stderr, process_group=0)
    try:
        code = process.wait()
    finally:
        process.terminate()
        process.wait()
    if code:
        raise UserError(f"softvote {stage}: ended with exit code {code}; it says why above")
    return (time.perf_counter() - started) / 60


def _stock_minutes(case: Case, root: Path, rows: int, parsed: argparse.Namespace) -> float:
    """Of the stock loop's epochs, for all members of this network."""
    with loops((f"{case.network}, stock", run_stock, case, root)) as running:
        rates = [rate(running, Order("lap", parsed.seconds)) for _ in range(parsed.repeats)]
        dismiss(running)
    _tell(f"{case.network}: stock loop {statistics.fmean(rates):,.0f} images/s")
    return case.times * STOCK_EPOCHS * rows / statistics.fmean(rates) / 60


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: nothing is left behind
    sys.exit(main())
