"""How fast do networks train on this machine's GPU, step by step and recorded, one and several at once?

    python scripts/gpu_benchmark.py                                    # all, within 85 seconds
    python scripts/gpu_benchmark.py --networks doucet_resnet cnn --batch 256 --processes 1 3 --to OUT

The steps are those of softvote.training on random images of 28 x 28, 42,000 of them on the device, with the
augmentation of the pipeline digit-recognizer; its networks have its recipes, the wide ones their authors'.
Each network is built once in each of the processes, which take some steps that do not count (in them
convolutions are tried and the step is recorded). Then the first process is timed with steps as they are, and
so many processes as --processes says, side by side, with recorded ones: 100 steps each, within two seconds.
What does not fit into --seconds is left out and named. First of all it is seen that the device draws what the
processor draws, and that recorded steps learn as well as others.

The table is printed and gpu_benchmark.json written. Below it stands what the plan would take: members of so
many trainings and epochs (--plan NAME:TRAININGS:EPOCHS ...), prediction included.
"""

# Annotations are not deferred: dataclasses cannot look theirs up in a module that was loaded by its path.

import argparse
import multiprocessing
import platform
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from softvote.compute.autotune import choose_compute_config
from softvote.compute.device import find_device, for_training, synchronize
from softvote.compute.draws import SeedInMemory, draw_uniforms
from softvote.config.pipeline_file import read_pipeline_file
from softvote.config.recipe import Member
from softvote.data.normalisation import Normalisation
from softvote.errors import UserError
from softvote.inference.network import Network, create_network
from softvote.reporting.tables import render
from softvote.seeds import uniforms
from softvote.shell import run_program
from softvote.storage.files import write_json
from softvote.task import Task
from softvote.training.cuda_graphs import StepGraphs, create_recorder
from softvote.training.learner import Learner
from softvote.training.rows import Split
from softvote.training.trainer import Trainer

Facts = dict[str, Any]

ROOT = Path(__file__).resolve().parent.parent
PIPELINE = "digit-recognizer"
ROWS, TEST_ROWS = 42_000, 28_000
IMAGE = (1, 28, 28)
STEPS, SECONDS = 100, 2.0
"""Of a measurement, at most."""
WARM_UP = 7
"""Steps before it: more than a recorder waits for."""
PATIENCE = 60.0
AUGMENT = {"rotate": 10, "scale": 0.1, "shear": 6, "shift": 2, "elastic": 1}
WIDE: Facts = {
    "optimizer": {"name": "adam", "lr": 1e-3}, "schedule": {"name": "cosine"}, "augment": AUGMENT,
}  # fmt: skip
EMA = WIDE | {"ema": 0.999}
MEMBERS: dict[str, Facts] = {
    "doucet_resnet": WIDE | {"view": {"name": "crop", "size": 25}, "normalise": "image"},
    "doucet_half": WIDE | {"model": "doucet_resnet", "model_args": {"width": 64}, "normalise": "image"},
    "matuzas_senet": WIDE,
    "simple_cnn_m5": EMA,
    "simple_cnn_m3": EMA,
    "deotte_cnn": WIDE,
}
"""Beside those of the pipeline; the model's name is the member's where it is not said."""
PLAN = ["doucet_resnet:10:18", "matuzas_senet:10:21", "simple_cnn_m5:4:40", "simple_cnn_m3:4:40"]


def members() -> dict[str, Member]:
    """Everything that can be measured."""
    known = {name: Member.model_validate({"model": name} | facts) for name, facts in MEMBERS.items()}
    # In a folder that remote_run packed, pipelines lie beside what they leave.
    folder = next(ROOT / place for place in ("pipelines", "work/pipelines") if (ROOT / place).is_dir())
    pipeline = read_pipeline_file(folder / f"{PIPELINE}.yaml")
    five = {member.model: member for member in pipeline.members.values()}
    return known | five


# ---------------------------------------------------------------- in each process


class Trial:
    """A training whose steps are taken one at a time."""

    def __init__(self, member: Member, batch: int, rows: int) -> None:
        self.batch = batch
        torch.manual_seed(0)
        random = np.random.default_rng(0)
        images = torch.from_numpy(random.integers(0, 256, (rows, *IMAGE), dtype=np.uint8))
        labels = torch.from_numpy(random.integers(0, 10, rows))
        self.network = create_network(member, Task(10), IMAGE)
        shape = (batch, *IMAGE)
        self.compute_config = choose_compute_config(
            self.network.model, shape, member.precision, member.memory_format, {}
        )
        self.compute_config.to_device(self.network.model)
        self.learner = Learner(
            member, self.network, self.compute_config, Normalisation.of(images, member.normalise), 0
        )
        self.learner.start(1 << 20, "benchmark")
        device = self.compute_config.device
        self.data = Split(images, labels, np.arange(rows)).to(device)
        order = random.permutation(rows)[: rows // batch * batch].reshape(-1, batch)
        self.batches: Any = torch.from_numpy(order).to(device) if device == "cuda" else order
        self.taken = 0

    def record(self, recorded: bool) -> None:
        """Take steps that are recorded, or not; on a processor there is one way only."""
        device = self.compute_config.device
        if device == "cuda":
            recorder = create_recorder(device) if recorded else None
            self.learner.graphs = StepGraphs(
                torch.device(device), self.learner.optimizer, recorder, "benchmark"
            )
        self.steps(WARM_UP)

    def steps(self, count: int) -> Tensor:
        """Take some steps; the sum of their totals."""
        totals = torch.zeros(2, device=self.compute_config.device)
        for _ in range(count):
            which = self.batches[self.taken % len(self.batches)]
            totals += self.learner.step(0, self.taken, self.data, which)
            self.taken += 1
        return totals

    def images_per_second(self, seconds: float) -> float:
        """Of STEPS steps, or of as many as fit into the seconds."""
        device = self.compute_config.device
        synchronize(device)
        began = time.perf_counter()
        self.steps(5)
        synchronize(device)
        each = (time.perf_counter() - began) / 5
        count = max(2, min(STEPS, int(seconds / each)))
        began = time.perf_counter()
        self.steps(count)
        synchronize(device)
        return count * self.batch / (time.perf_counter() - began)


def work(line: Connection, rows: int) -> None:
    """Do what the parent says until it says None: ("build", member, batch), ("record", bool), ("time", s)."""
    trial: Trial | None = None
    device = find_device()
    with for_training(device):
        synchronize(device)
        line.send("ready")
        while (order := line.recv()) is not None:
            what, *arguments = order
            try:
                if what == "build":
                    trial = None  # its memory first
                    trial = Trial(*arguments, rows)
                    line.send(trial.compute_config.to_json())
                    continue
                assert trial is not None
                line.send(getattr(trial, {"record": "record", "time": "images_per_second"}[what])(*arguments))
            except Exception as error:  # told there, and the next order may go well
                traceback.print_exc()
                line.send(error if isinstance(error, UserError) else RuntimeError(repr(error)[:300]))


# ---------------------------------------------------------------- in the parent


@dataclass
class Crew:
    """The processes that measure."""

    lines: list[Connection] = field(default_factory=list)
    started: float = 0.0

    def start(self, count: int, rows: int) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["softvote.training.train"])
        began = time.perf_counter()
        for _ in range(count):
            ours, its = context.Pipe()
            context.Process(target=work, args=(its, rows), daemon=True).start()
            its.close()
            self.lines.append(ours)
        for line in self.lines:
            line.recv()
        self.started = time.perf_counter() - began

    def tell(self, count: int, *order: Any) -> list[Any]:
        """What the first so many processes answer to an order, side by side.

        Raises:
            Exception: one of them failed.
        """
        for line in self.lines[:count]:
            line.send(order)
        answers = [self._answer(line) for line in self.lines[:count]]
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers

    def _answer(self, line: Connection) -> Any:
        if not line.poll(PATIENCE):
            raise UserError(f"a process gave no answer within {PATIENCE:.0f} s")
        return line.recv()

    def stop(self) -> None:
        for line in self.lines:
            line.send(None)


def measure(crew: Crew, member: Member, batch: int, processes: list[int], seconds: float) -> Facts:
    """One network with one size of batch: images per second, in all processes together."""
    began, many = time.perf_counter(), max(processes)
    compute_config = crew.tell(many, "build", member, batch)[0]
    crew.tell(1, "record", False)
    plain = crew.tell(1, "time", seconds)[0]
    crew.tell(many, "record", True)
    recorded = {str(count): sum(crew.tell(count, "time", seconds)) for count in sorted(processes)}
    return {
        "batch": batch,
        "precision": compute_config["precision"], "memory_format": compute_config["memory_format"],
        "plain": plain, "recorded": recorded, "took": time.perf_counter() - began,
    }  # fmt: skip


def million_multiply_adds(member: Member) -> float:
    """Of one image, forward."""
    model = create_network(member, Task(10), IMAGE).model.eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, *IMAGE))
    return counter.get_total_flops() / 2e6


def check() -> list[str]:
    """See that the device draws what the processor draws; in words.

    Raises:
        UserError: it does not.
    """
    device, rows = torch.device(find_device()), np.arange(5000) * 977
    there = torch.from_numpy(rows).to(device)
    for seed in (0, 2**63 - 1, 1234567890123456789):
        drawn = draw_uniforms(SeedInMemory(seed, device), there, 40, device).cpu()
        if not torch.equal(drawn, torch.from_numpy(uniforms(seed, rows, 40))):
            raise UserError(f"draws on {device} differ from those of the processor")
    return [f"{device} draws the same bits as the processor"]


def check_learning(seconds: float) -> list[str]:
    """Train on digits that come with scikit-learn, with steps as they are and recorded; in words."""
    from sklearn.datasets import load_digits
    from torch.nn import functional

    digits, found = load_digits(), []
    images = torch.from_numpy(digits.images * (255 / 16)).float()[:, None]
    pixels = functional.interpolate(images, (28, 28), mode="bilinear").round().byte()
    labels = torch.from_numpy(digits.target).long()
    began = time.perf_counter()
    for name, facts in (("cnn", {}), ("cnn", {"schedule": {"name": "cosine"}, "ema": 0.9, "mixup": 0.2})):
        for recorded in (False, True):
            if time.perf_counter() - began > seconds:
                return [*found, "no time was left to see more of it learn"]
            member = Member.model_validate({"model": name, "augment": {"shift": 1}, "epochs": 4} | facts)
            accuracy = _learn(member, pixels, labels, recorded)
            schedule = member.schedule.name
            found.append(f"{name}, {schedule}, recorded {recorded}: accuracy in epoch 4 {accuracy:.2%}")
            if accuracy < 0.7:  # of images that are mixed in the second case
                found[-1] += ": IT DOES NOT LEARN"
    return found


def _learn(member: Member, pixels: Tensor, labels: Tensor, recorded: bool) -> float:
    torch.manual_seed(0)
    network: Network = create_network(member, Task(10), IMAGE)
    compute_config = choose_compute_config(
        network.model, (member.batch_size, *IMAGE), member.precision, member.memory_format, {}
    )
    compute_config.to_device(network.model)
    learner = Learner(member, network, compute_config, Normalisation.of(pixels), 0)
    if not recorded and compute_config.device == "cuda":
        learner.create_graphs = lambda label: StepGraphs(  # type: ignore[method-assign]
            torch.device("cuda"), learner.optimizer, None, label
        )
    with for_training(compute_config.device):
        state = Trainer(learner, f"check {recorded}").run(Split(pixels, labels, np.arange(len(labels))))
    return float(state.log[-1]["accuracy"])


def forecast(plan: list[str], rows: dict[str, Facts], start: float, folds: int) -> list[str]:
    """Seconds that a plan takes with what was measured, a line per member."""
    lines, total = [], 0.0
    for each in plan:
        name, trainings, epochs = each.split(":")
        if name not in rows:
            lines.append(f"{name}: not measured")
            continue
        best = max(rows[name]["recorded"].values())
        fed = ROWS * (1 - 1 / folds) * int(epochs)
        predicted = (TEST_ROWS + ROWS / folds) / 2  # forward alone, in smaller batches
        seconds = int(trainings) * (fed + predicted) / best
        total += seconds
        lines.append(f"{name}: {trainings} x {epochs} epochs, {seconds:.0f} s")
    return [*lines, f"in all {total:.0f} s of training, and about {start:.0f} s for each start of processes"]


def environment() -> Facts:
    """The device, the processor and what runs on them."""
    cuda = torch.cuda.is_available()
    return {
        "device": torch.cuda.get_device_name() if cuda else find_device(),
        "memory": torch.cuda.mem_get_info()[1] if cuda else 0,
        "torch": str(torch.__version__),
        "cudnn": torch.backends.cudnn.version(),
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0, or 1 after a mistake of the user, which is told in a line."""
    parsed = _parse(arguments)
    return run_program("gpu_benchmark", lambda: run(parsed))


def run(parsed: argparse.Namespace) -> None:
    deadline = time.perf_counter() + parsed.seconds
    known = members()
    for name in parsed.networks:
        if name not in known:
            raise UserError(f"--networks {name}: no such network; known: {', '.join(known)}")
    facts: Facts = {"environment": environment(), "checks": check(), "rows": [], "left_out": []}
    print(facts["environment"], flush=True)
    crew = Crew()
    crew.start(max(parsed.processes), parsed.rows)
    facts["start"] = crew.started
    if parsed.learning:
        facts["checks"] += check_learning(parsed.seconds / 5)
    print("\n".join(facts["checks"]), flush=True)
    for batch in parsed.batch:
        for name in parsed.networks:
            took = max([row["took"] for row in facts["rows"]], default=0.0)
            if time.perf_counter() + took > deadline:
                facts["left_out"].append(f"{name} at {batch}")
                continue
            try:
                row = measure(crew, known[name], batch, parsed.processes, parsed.lap)
            except Exception as error:  # one network that fails must not cost the others
                facts["left_out"].append(f"{name} at {batch} ({error})")
                print(f"{name} at {batch}: {error}", file=sys.stderr, flush=True)
                continue
            facts["rows"].append({"network": name, "mmac": million_multiply_adds(known[name]), **row})
            print(f"{name} at {batch}: {row}", flush=True)
            write_json(parsed.to / "gpu_benchmark.json", facts)
    crew.stop()
    _show(facts, parsed)
    write_json(parsed.to / "gpu_benchmark.json", facts)


def _show(facts: Facts, parsed: argparse.Namespace) -> None:
    headings = ["network", "batch", "MMAC", "as it is", *(f"recorded x{n}" for n in sorted(parsed.processes))]
    lines, fastest = [], dict[str, Facts]()
    for row in facts["rows"]:
        speeds = [row["plain"], *row["recorded"].values()]
        tera = max(speeds) * row["mmac"] * 6e-6  # two operations each, three times the way forward
        lines.append([
            row["network"], str(row["batch"]), f"{row['mmac']:.0f}", *(f"{each:,.0f}" for each in speeds),
            f"{tera:.0f}",
        ])  # fmt: skip
        known = fastest.setdefault(row["network"], row)
        if max(row["recorded"].values()) > max(known["recorded"].values()):
            fastest[row["network"]] = row
    print(render([*headings, "TFLOP/s"], lines), end="")
    if facts["left_out"]:
        print(f"left out: {', '.join(facts['left_out'])}")
    facts["plan"] = forecast(parsed.plan, fastest, facts["start"], parsed.folds)
    print("\n".join(facts["plan"]))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [*MEMBERS, "cnn", "resnet5", "big_kernel_cnn", "stn_cnn"]
    parser.add_argument("--networks", nargs="+", default=names, metavar="NAME")
    parser.add_argument("--batch", nargs="+", type=int, default=[256, 128])
    parser.add_argument("--processes", nargs="+", type=int, default=[1, 2, 4], metavar="N")
    parser.add_argument("--seconds", type=float, default=85, help="in all (%(default)s)")
    parser.add_argument("--lap", type=float, default=SECONDS, help="seconds of one measurement (%(default)s)")
    parser.add_argument("--rows", type=int, default=ROWS, help="images on the device (%(default)s)")
    parser.add_argument("--plan", nargs="+", default=PLAN, metavar="NAME:TRAININGS:EPOCHS")
    parser.add_argument("--folds", type=int, default=10, help="of the plan (%(default)s)")
    parser.add_argument(
        "--no-learning", dest="learning", action="store_false", help="see no network learn first"
    )
    parser.add_argument("--to", type=Path, default=Path("docs/benchmark"), help="folder (%(default)s)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
