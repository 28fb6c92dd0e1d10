"""Words of the command line, and what is written of every run."""

from __future__ import annotations

import argparse
import functools
import math
import platform
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import torch
import torchvision

import benchmark
import softvote
from benchmark.accuracy import compare_accuracy
from benchmark.cases import FIVE, NETWORKS, ROOT, Facts, load_case
from benchmark.inputs import lay_out_inputs
from benchmark.show import write_speed
from benchmark.speed import compare_speed
from benchmark.to_vote import time_to_vote
from softvote import machine
from softvote.compute.device import find_device
from softvote.data.dataset import read_dataset
from softvote.errors import UserError, one_of
from softvote.scheduling.resources import split_cores
from softvote.shell import run_program
from softvote.storage.files import write_json
from softvote.storage.git import git_state
from softvote.storage.paths import Workspace


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0, 1 after a mistake of the user, or 130 after Ctrl-C; both are told in a line."""
    return run_program(
        "benchmark", lambda: _measure(_parse(arguments)), stopped="stopped; nothing was written"
    )


def _measure(parsed: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(prefix="softvote-benchmark-") as folder:
        root = Path(folder)
        cases = [load_case(network) for network in parsed.networks]
        origins = lay_out_inputs(root, {case.competition.name for case in cases}, parsed)
        for competition in {case.competition.name: case.competition for case in cases}.values():
            read_dataset(competition, Workspace(root))  # so that every process finds it read
        facts = _head(origins) | parsed.mode(cases, root, parsed)
        parsed.write(facts, parsed.to)


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


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; --help says what there is")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _Parser(description=(benchmark.__doc__ or "").splitlines()[0])
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
