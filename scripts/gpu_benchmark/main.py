"""Words of the command line, what is written of a run, and what a plan would take."""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

import gpu_benchmark
from gpu_benchmark.cases import IMAGE, MEMBERS, ROWS, TEST_ROWS, Facts, known_members
from gpu_benchmark.checks import check_draws, check_learning
from gpu_benchmark.crew import Crew, measure
from softvote.compute.device import find_device
from softvote.config.recipe import Member
from softvote.errors import UserError
from softvote.inference.network import create_network
from softvote.reporting.tables import render
from softvote.shell import run_program
from softvote.storage.files import write_json
from softvote.task import Task
from softvote.words import counted

SECONDS = 2.0
"""Of a measurement, at most."""
PLAN = ["doucet_resnet:10:18", "matuzas_senet:10:21", "simple_cnn_m5:4:40", "simple_cnn_m3:4:40"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0, or 1 after a mistake of the user, which is told in a line."""
    parsed = _parse(arguments)
    return run_program("gpu_benchmark", lambda: run(parsed))


def run(parsed: argparse.Namespace) -> None:
    deadline = time.perf_counter() + parsed.seconds
    known = known_members()
    for name in parsed.networks:
        if name not in known:
            raise UserError(f"--networks {name}: no such network; known: {', '.join(known)}")
    facts: Facts = {"environment": environment(), "checks": check_draws(), "rows": [], "left_out": []}
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
    parser = argparse.ArgumentParser(description=(gpu_benchmark.__doc__ or "").splitlines()[0])
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
        lines.append(f"{name}: {trainings} x {counted(int(epochs), 'epoch')}, {seconds:.0f} s")
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


def million_multiply_adds(member: Member) -> float:
    """Of one image, forward."""
    model = create_network(member, Task(10), IMAGE).model.eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, *IMAGE))
    return counter.get_total_flops() / 2e6
