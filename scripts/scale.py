"""What would a competition of so many photographs take: time, memory, traffic, cost? From measured rates.

    python scripts/scale.py                               # docs/scale.json, and the table of docs/scale.md
    python scripts/scale.py --images 42000 5000000 --gpus 4 --gpu-price 2.5 --to elsewhere.json

Measured here, on one core and in its own seconds (other work on the machine does not count): decoding
photographs of 640 x 480 to 224 x 224, and training steps of the network. Read from what other programs
measured: core seconds and memory of the stages (docs/growth.json, a million rows and 25 members) and the
rate of convolutions in training on a GPU (docs/benchmark/gpu.json, the slowest network). All else is
arithmetic: what grows in proportion to images is multiplied by them. Prices and bandwidths are assumptions,
each an argument. No GPU ran the network itself, and nothing of more than a million rows was run.
"""

# Annotations are not deferred: dataclasses cannot look theirs up in a module that was loaded by its path.

import argparse
import io
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image
from torch import nn

from softvote import machine
from softvote.errors import UserError
from softvote.shell import run_program
from softvote.storage.files import read_json, write_json
from softvote.words import counted

SIDE = 224
PIXELS = 3 * SIDE**2
"""Bytes of a decoded image."""
TERA, GIB = 1e12, 2.0**30


@dataclass(frozen=True)
class Rates:
    """What was measured.

    Attributes:
        decoded: images per second of one core, 640 x 480 JPEG to 224 x 224.
        file_bytes: of such a JPEG.
        core_trained: training steps' images per second of one core, float32.
        mmac: million multiply-adds of the network, forward, for one image.
        gpu_flops: floating-point operations per second in training on a GPU.
        stages_core_seconds: of a million rows, all stages but training, 25 members.
        stages_gib: their peak memory for a million rows.
    """

    decoded: float
    file_bytes: float
    core_trained: float
    mmac: float
    gpu_flops: float
    stages_core_seconds: float
    stages_gib: float

    @property
    def gpu_trained(self) -> float:
        """Images a second of one GPU: three times a forward pass's multiply-adds, two operations each."""
        return self.gpu_flops / (6e6 * self.mmac)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0, or 1 after a mistake of the user, which is told in a line."""
    parsed = _parser().parse_args(arguments)
    return run_program("scale", lambda: _reckon(parsed))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    sizes = [42_000, 1_000_000, 10_000_000, 100_000_000]
    parser.add_argument("--images", type=int, nargs="+", default=sizes, help="training images (%(default)s)")
    parser.add_argument("--model", default="resnet50", help="a network of timm (%(default)s)")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--members", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--gpus", type=int, default=8, help="at once (%(default)s)")
    parser.add_argument(
        "--network", type=float, default=10, help="gigabit a second into a node (%(default)s)"
    )
    parser.add_argument("--disk", type=float, default=4, help="terabytes of a node (%(default)s)")
    parser.add_argument("--memory", type=float, default=128, help="GiB of a node (%(default)s)")
    parser.add_argument(
        "--gpu-price", type=float, default=3, help="an hour, its cores included (%(default)s)"
    )
    parser.add_argument("--store-price", type=float, default=23, help="a terabyte and month (%(default)s)")
    parser.add_argument("--to", type=Path, default=Path("docs/scale.json"), help="(%(default)s)")
    return parser


def _reckon(parsed: argparse.Namespace) -> None:
    rates = measure(parsed.model)
    columns = [reckon(images, rates, parsed) for images in parsed.images]
    limits = first_to_break(rates, parsed)
    settings = {name: value for name, value in vars(parsed).items() if name != "to"}
    write_json(
        parsed.to,
        {"processor": machine.processor(), "settings": settings, "rates": asdict(rates)}
        | {"reckoned": columns, "limits": limits},
    )
    print(table(columns))
    cores = rates.gpu_trained / rates.decoded
    print(f"\none GPU trains {rates.gpu_trained:,.0f} images/s; {cores:.1f} cores decode as many on the way")
    print("breaks first:")
    print("\n".join(f"- {images:,} images: {what}" for what, images in limits.items()))


# ---------------------------------------------------------------- measured


def measure(model: str) -> Rates:
    """Measure what this machine can, and read what others measured.

    Raises:
        UserError: no such network, or a file of measurements is missing.
    """
    if not timm.is_model(model):
        raise UserError(f"--model {model}: no network of timm")
    file = _photograph()
    network = timm.create_model(model, num_classes=20)
    million = _stages()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return Rates(
            decoded=_per_core_second(lambda: _decode(file), 1),
            file_bytes=len(file),
            core_trained=_per_core_second(_step(network), 8),
            mmac=_multiply_adds(network) / 1e6,
            gpu_flops=min(_gpu_flops()),
            stages_core_seconds=sum(each["core_seconds"] for each in million),
            stages_gib=max(each["peak_mib"] for each in million) / 1024,
        )
    finally:
        torch.set_num_threads(threads)


def _photograph() -> bytes:
    """The photograph of 640 x 427 that comes with scikit-learn, as a JPEG of 640 x 480."""
    from sklearn.datasets import load_sample_image

    written = io.BytesIO()
    Image.fromarray(load_sample_image("china.jpg")).resize((640, 480)).save(written, "JPEG", quality=85)
    return written.getvalue()


def _decode(file: bytes) -> None:
    image = Image.open(io.BytesIO(file))
    image.draft("RGB", (SIDE, SIDE))
    np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def _step(network: nn.Module) -> Callable[[], None]:
    network = network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    images = torch.randn(8, 3, SIDE, SIDE).to(memory_format=torch.channels_last)

    def step() -> None:
        optimizer.zero_grad()
        network(images).logsumexp(dim=1).sum().backward()
        optimizer.step()

    return step


def _per_core_second(work: Callable[[], None], images: int, seconds: float = 4) -> float:
    """Images a second of this process's own time, after a first go that does not count."""
    work()
    started, times = time.process_time(), 0
    while time.process_time() - started < seconds:
        work()
        times += 1
    return times * images / (time.process_time() - started)


def _multiply_adds(network: nn.Module) -> float:
    """Of one image, forward: those of convolutions and linear layers."""
    from torch.utils.flop_counter import FlopCounterMode

    network.eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 3, SIDE, SIDE))
    return counter.get_total_flops() / 2


def _stages() -> list[dict[str, Any]]:
    measured = read_json(Path("docs/growth.json")).get("measured", [])
    found = [each for each in measured if each["axis"] == "most" and each["rows"] == 1_000_000]
    if not found:
        raise UserError("docs/growth.json: has no axis `most` of a million rows; scripts/growth measures it")
    return found


def _gpu_flops() -> list[float]:
    rows = read_json(Path("docs/benchmark/gpu.json")).get("rows", [])
    if not rows:
        raise UserError("docs/benchmark/gpu.json: is missing or empty; scripts/gpu_benchmark measures it")
    return [6e6 * row["mmac"] * row["plain"] for row in rows]


# ---------------------------------------------------------------- reckoned


def reckon(images: int, rates: Rates, plan: argparse.Namespace) -> dict[str, float]:
    """What so many training images take; hours, terabytes and GiB, in the currency of the prices."""
    fed = images * (1 - 1 / plan.folds) * plan.folds * plan.members * plan.epochs
    gpu_hours = fed / rates.gpu_trained / 3600
    # A node holds the rows of the trainings that it runs: of one fold of a member, or of all in turn.
    nodes = min(plan.gpus, plan.folds * plan.members)
    traffic = nodes * images * rates.file_bytes / TERA
    files = images * rates.file_bytes / TERA
    return {
        "images": images,
        "files_tb": files,
        "decoded_tb": images * PIXELS / TERA,
        "decoding_core_hours": images / rates.decoded / 3600,
        "cpu_training_core_hours": fed / rates.core_trained / 3600,
        "gpu_hours": gpu_hours,
        "days": gpu_hours / nodes / 24,
        "traffic_tb": traffic,
        "transfer_hours": images * rates.file_bytes * 8 / (plan.network * 1e9) / 3600,
        "stages_core_hours": images / 1e6 * rates.stages_core_seconds / 3600,
        "stages_gib": images / 1e6 * rates.stages_gib,
        "cost": gpu_hours * plan.gpu_price + files * plan.store_price,
    }


def first_to_break(rates: Rates, plan: argparse.Namespace) -> dict[str, int]:
    """How many images are the most for each limit, the smallest first."""
    a_month = 30 * 24 / reckon(1_000_000, rates, plan)["days"] / 24 * 1_000_000
    found = {
        f"decoded images fill {plan.memory:g} GiB of page cache: epochs read the disk": (
            plan.memory * GIB / PIXELS
        ),
        f"decoded images fill a disk of {plan.disk:g} TB: `images: lazy`, or shards": (
            plan.disk * TERA / PIXELS
        ),
        f"JPEG files fill a disk of {plan.disk:g} TB: shards, a part on each node": (
            plan.disk * TERA / rates.file_bytes
        ),
        f"the stages of one process fill {plan.memory:g} GiB": plan.memory / rates.stages_gib * 1e6,
        f"training takes a month on {counted(plan.gpus, 'GPU')}": a_month,
    }
    return {what: int(images) for what, images in sorted(found.items(), key=lambda each: each[1])}


ROWS = {
    "files_tb": "JPEG files, TB",
    "decoded_tb": "decoded, 224 x 224, TB",
    "decoding_core_hours": "decoding, core hours, once",
    "cpu_training_core_hours": "training on CPUs, core hours",
    "gpu_hours": "training, GPU hours",
    "days": "training, days",
    "transfer_hours": "bring the files to a node, hours",
    "traffic_tb": "traffic to all nodes, TB",
    "stages_core_hours": "other stages, core hours",
    "stages_gib": "other stages, memory, GiB",
    "cost": "GPUs and a month's store, $",
}


def table(columns: Sequence[dict[str, float]]) -> str:
    """A row for each figure, a column for each number of images, in Markdown."""
    head = ["", *(f"{column['images']:,}" for column in columns)]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for name, words in ROWS.items():
        lines.append(f"| {words} | {' | '.join(_short(column[name]) for column in columns)} |")
    return "\n".join(lines)


def _short(value: float) -> str:
    """Two significant digits."""
    return f"{float(f'{value:.2g}'):,.10g}"


if __name__ == "__main__":
    sys.exit(main())
