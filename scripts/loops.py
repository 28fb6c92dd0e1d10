"""How much faster is a training step with softvote.ops.cpu_kernels than with PyTorch's own layers?

    python scripts/loops.py                        # every network of ours in which something goes in one
    python scripts/loops.py cnn resnet5 --precision fp32 --rounds 20
    python scripts/loops.py cnn resnet5 --compile  # and with PyTorch's own layers under torch.compile

Forward, backward and optimiser on random images, on one thread, by turns in one process; batches of 128, of
32 where images are as large as digit-sum's. Times are of the processor, which other programs change little;
errors are standard errors of the mean over rounds. Takes half a minute a network on one core of an AMD EPYC,
and one to three minutes more to compile one, for which a C++ compiler must be there.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from softvote import machine
from softvote.compute.precision import ComputeConfig
from softvote.errors import UserError, one_of
from softvote.models import create_model
from softvote.ops import fused_ops
from softvote.reporting.tables import render
from softvote.shell import run_program

DIGIT, DIGITS = (28, 28), (40, 168)
NETWORKS = {
    "cnn": DIGIT, "big_kernel_cnn": DIGIT, "resnet5": DIGIT, "stn_cnn": DIGIT,
    "slot_cnn": DIGITS, "slot_resnet5": DIGITS,
}  # fmt: skip
BATCHES = {DIGIT: 128, DIGITS: 32}
OUTPUTS = {DIGIT: 10, DIGITS: 40}
STEPS = 4
"""Steps a round; the quickest counts."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0, or 1 after a mistake of the user, which is told in a line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", default=[*NETWORKS], metavar="NAME")
    parser.add_argument("--precision", choices=["bf16", "fp32"], default="bf16")
    parser.add_argument("--rounds", type=int, default=10, help="of each (%(default)s)")
    parser.add_argument("--compile", action="store_true", help="measure torch.compile beside them")
    parsed = parser.parse_args(arguments)
    return run_program("loops", lambda: _compare(parsed))


def _compare(parsed: argparse.Namespace) -> None:
    _check(parsed)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    machine.keep_freed_memory()
    compute_config = ComputeConfig("cpu", parsed.precision, "channels_last")
    heads = ["network", "batch", "loops, ms", "PyTorch, ms", "times as fast"]
    if parsed.compile:
        heads += ["compiled, ms", "times as fast as compiled"]
    rows = [_compare_network(name, compute_config, parsed) for name in parsed.networks]
    print(render(heads, rows), end="")


def _check(parsed: argparse.Namespace) -> None:
    for name in parsed.networks:
        if name not in NETWORKS:
            raise UserError(f"no such network; {one_of([*NETWORKS], name)}")
    if parsed.rounds < 2:
        raise UserError(f"--rounds {parsed.rounds}: too few; give 2 or more")


def _compare_network(name: str, compute_config: ComputeConfig, parsed: argparse.Namespace) -> list[str]:
    torch.manual_seed(0)
    size = NETWORKS[name]
    network = compute_config.to_device(create_model(name, OUTPUTS[size], 1, size)).train()
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    images = compute_config.to_memory_format(torch.randn(BATCHES[size], 1, *size))
    others: list[Callable[..., Any]] = [network, torch.compile(network)] if parsed.compile else [network]
    fused, plain = list[float](), [list[float]() for _ in others]
    for _ in range(parsed.rounds + 1):
        fused.append(_milliseconds(network, optimizer, images, compute_config))
        with mock.patch.object(fused_ops, "can_fuse", lambda *_: False):
            for forward, each in zip(others, plain, strict=True):
                each.append(_milliseconds(forward, optimizer, images, compute_config))
    cells = [name, str(len(images)), _format(fused[1:], 1)]  # the first round compiles and warms up
    for each in plain:
        ratios = [slow / quick for quick, slow in zip(fused[1:], each[1:], strict=True)]
        cells += [_format(each[1:], 1), _format(ratios, 3)]
    return cells


def _milliseconds(
    forward: Callable[..., Any],
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    compute_config: ComputeConfig,
) -> float:
    """Of the quickest of a few steps."""
    seconds = []
    for _ in range(STEPS):
        started = time.process_time()
        with compute_config.autocast():
            outputs = forward(images)
        optimizer.zero_grad(set_to_none=True)
        outputs.float().square().mean().backward()
        optimizer.step()
        seconds.append(time.process_time() - started)
    return 1000 * min(seconds)


def _format(each: list[float], digits: int) -> str:
    error = statistics.stdev(each) / len(each) ** 0.5
    return f"{statistics.mean(each):.{digits}f} ± {error:.{digits}f}"


if __name__ == "__main__":
    sys.exit(main())
