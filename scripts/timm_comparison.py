"""How fast does softvote train a timm network on photographs, and in how much memory, beside timm's train.py?

    python scripts/timm_comparison.py train.py emoji-scenes              # docs/benchmark/timm.json
    python scripts/timm_comparison.py train.py emoji-scenes --precision bf16 --turns 5 --to elsewhere.json

train.py lies in timm's repository, huggingface/pytorch-image-models on GitHub; its wheels lack it.
Both train the network on the same JPEG files, at the same size and batch, in float32 or bfloat16 autocast,
with random resized crops, mirrored images and changes of brightness, contrast and saturation, and validate on
the same rows; each is a command of its own, by turns. Counted are the epochs after the first: images per
second are rows over seconds of such an epoch, waiting for data included. Memory is the peak of what the
command's processes hold together (proportional set size: pages that several share count once), CPU seconds
are those of all its processes, start-up included. timm decodes the files in every epoch, in workers;
softvote has decoded them once, before, and how long that took is said.

Ratios are means over turns of one turn's ratio, with standard errors. Other work on the machine slows the one
with more processes less: the load is written down.
"""

# Annotations are not deferred: dataclasses cannot look theirs up in a module that was loaded by its path.

import argparse
import contextlib
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import timm
import torch
import yaml

from softvote import machine
from softvote.compute.device import accelerator_name, find_device
from softvote.errors import UserError
from softvote.reporting.tables import render
from softvote.shell import run_program
from softvote.storage.files import write_json, write_text
from softvote.storage.paths import Workspace
from softvote.words import counted

COMPETITION = Path("pipelines/competitions")
AUGMENT = {
    "random_resized_crop": {}, "horizontal_flip": 0.5, "brightness": 0.4, "contrast": 0.4, "saturation": 0.4,
}  # fmt: skip
"""What timm does to images where nothing is said."""
SAMPLE_SECONDS = 0.1
NAME = "comparison"


@dataclass(frozen=True)
class Run:
    """What one command took."""

    images_per_second: float
    peak_mib: float
    core_seconds: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0, or 1 after a mistake of the user, which is told in a line."""
    parsed = _parser().parse_args(arguments)
    return run_program("timm_comparison", lambda: compare(parsed))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", type=Path, help="timm's train.py")
    parser.add_argument("competition", help="one of pipelines/competitions, of image files in its input/")
    parser.add_argument("--model", default="tf_efficientnet_lite0", help="a network of timm (%(default)s)")
    parser.add_argument("--size", type=int, default=64, help="pixels of a side (%(default)s)")
    parser.add_argument("--batch", type=int, default=64, help="images of a step (%(default)s)")
    parser.add_argument("--images", type=int, default=1600, help="of them 4/5 are trained on (%(default)s)")
    parser.add_argument("--epochs", type=int, default=3, help="of each command (%(default)s)")
    parser.add_argument("--turns", type=int, default=3, help="of both (%(default)s)")
    parser.add_argument("--workers", type=int, default=4, help="timm's, 4 is its default")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--to", type=Path, default=Path("docs/benchmark/timm.json"), help="(%(default)s)")
    return parser


def compare(parsed: argparse.Namespace) -> None:
    """Run both by turns; write and print what they took."""
    if not parsed.program.is_file():
        raise UserError(f"{parsed.program}: no such file; see this program's first lines for timm's train.py")
    if parsed.epochs < 2 or parsed.turns < 2:
        raise UserError("--epochs and --turns: 2 at least, for the first epoch does not count")
    with tempfile.TemporaryDirectory(prefix="softvote-timm-") as folder:
        root = Path(folder)
        decoding = lay_out(root, parsed)
        rows = [{"softvote": run_ours(root, parsed), "timm": run_timm(root, parsed)} for _ in _turns(parsed)]
    found = _head(parsed) | {"decoding_seconds": round(decoding, 1), "turns": [_as_dict(row) for row in rows]}
    found |= {"ratios": ratios(rows)}
    write_json(parsed.to, found)
    print(_table(rows), end="")
    print(f"reading and decoding, once: {decoding:.1f} s; wrote {parsed.to}")


def _turns(parsed: argparse.Namespace) -> Iterator[int]:
    for turn in range(parsed.turns):
        print(f"turn {turn + 1} of {parsed.turns}", flush=True)
        yield turn


def _head(parsed: argparse.Namespace) -> dict[str, Any]:
    return {
        "machine": {
            "processor": machine.processor(),
            "accelerator": accelerator_name(find_device()),
            "cores": os.cpu_count(),
            "load_before_and_after": [round(load, 1) for load in os.getloadavg()],
        },
        "versions": {"torch": str(torch.__version__), "timm": timm.__version__},
        "settings": {
            key: getattr(parsed, key)
            for key in ("competition", "model", "size", "batch", "images", "epochs", "workers", "precision")
        },
    }


def _as_dict(row: dict[str, Run]) -> dict[str, Any]:
    return {name: asdict(run) for name, run in row.items()}


# ---------------------------------------------------------------- the same files for both


def lay_out(root: Path, parsed: argparse.Namespace) -> float:
    """Write a competition, its pipeline and folds, and folders of classes for timm; seconds of decoding.

    Raises:
        UserError: the competition has no such files.
    """
    source = Workspace(Path()).input(parsed.competition)
    if not (source / "train.csv").is_file():
        raise UserError(f"{source}/train.csv: no such file; see scripts/make_data")
    written = yaml.safe_load((COMPETITION / f"{parsed.competition}.yaml").read_text(encoding="utf-8"))
    workspace = Workspace(root)
    folder = workspace.input(parsed.competition)
    folder.mkdir(parents=True)
    for name in ("train", "test"):
        (folder / name).symlink_to((source / name).resolve())
    train = pd.read_csv(source / "train.csv", dtype=str).head(parsed.images)
    train.to_csv(folder / "train.csv", index=False)
    sample = pd.read_csv(source / "sample_submission.csv", dtype=str).head(parsed.batch)
    sample.to_csv(folder / "sample_submission.csv", index=False)
    write_text(workspace.pipeline_file(NAME), yaml.safe_dump(_pipeline(written, parsed)))
    started = time.perf_counter()
    _run([sys.executable, "-m", "softvote", "--root", str(root), "folds", NAME])
    seconds = time.perf_counter() - started
    folds = pd.read_csv(workspace.pipeline(NAME).folds)["fold"].to_numpy()
    for row, (id_, label) in enumerate(zip(train["id"], train["label"], strict=True)):
        link = root / "timm" / ("val" if folds[row] == 0 else "train") / label / f"{id_}.jpg"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to((source / "train" / f"{id_}.jpg").resolve())
    return seconds


def _pipeline(written: dict[str, Any], parsed: argparse.Namespace) -> dict[str, Any]:
    competition = written["competition"] | {"solution": None}
    competition["image"] = {"height": parsed.size, "width": parsed.size, "channels": 3, "resize": True}
    member = {
        "model": parsed.model,
        "epochs": parsed.epochs,
        "batch_size": parsed.batch,
        "optimizer": {"name": "adamw", "lr": 0.001, "weight_decay": 0.05},
        "augment": AUGMENT,
        "precision": parsed.precision,
        "memory_format": "channels_last",
    }
    folds = {"count": 5, "train": 1, "group": "picture", "near_identical": 0}
    return {
        "competition": competition,
        "folds": folds,
        "members": {"network": member},
        "engine": {"workers": 1},
    }


# ---------------------------------------------------------------- one turn of each


def run_ours(root: Path, parsed: argparse.Namespace) -> Run:
    """Train the fold anew."""
    fold = Workspace(root).pipeline(NAME).predictions("network").fold(0)
    for file in (fold.weights, fold.recipe, fold.log):
        file.unlink(missing_ok=True)
    _, peak, seconds = _run([sys.executable, "-m", "softvote", "--root", str(root), "train", NAME])
    return Run(pd.read_csv(fold.log)["images_per_second"][1:].mean(), peak, seconds)


def run_timm(root: Path, parsed: argparse.Namespace) -> Run:
    """Train the same rows with timm's program."""
    command = [
        sys.executable, str(parsed.program.resolve()), str(root / "timm"), "--train-split", "train",
        "--val-split", "val", "--model", parsed.model, "--num-classes", str(_classes(root)), "--img-size",
        str(parsed.size), "--batch-size", str(parsed.batch), "--epochs", str(parsed.epochs), "--opt", "adamw",
        "--lr", "0.001", "--weight-decay", "0.05", "--workers", str(parsed.workers), "--device",
        find_device(),
        "--channels-last", "--log-interval", "1", "--output", str(root / "output"), "--warmup-epochs", "0",
    ]  # fmt: skip
    if parsed.precision == "bf16":
        command += ["--amp", "--amp-dtype", "bfloat16"]
    text, peak, seconds = _run(command, root)
    return Run(statistics.mean(timm_rates(text, parsed.batch)[1:]), peak, seconds)


def _classes(root: Path) -> int:
    return len(list((root / "timm" / "train").iterdir()))


def timm_rates(text: str, batch: int) -> list[float]:
    """Images per second of each epoch that timm's train.py tells of.

    Raises:
        UserError: it tells of none.
    """
    lines = re.findall(r"Train: (\d+) \[ *(\d+)/(\d+) .*?Time: [\d.]+s, +[\d.]+/s +\(([\d.]+)s,", text)
    last = {epoch: batch / float(mean) for epoch, step, steps, mean in lines if int(step) + 1 == int(steps)}
    if len(last) < 2:
        raise UserError(
            f"train.py: told of {counted(len(last), 'epoch')}; its last words: {text.strip()[-300:]}"
        )
    return list(last.values())


def _run(command: list[str], folder: Path | None = None) -> tuple[str, float, float]:
    """What a command said, its peak memory in MiB, and its CPU seconds, its children's included.

    Raises:
        UserError: the command failed.
    """
    before = os.times()
    with tempfile.TemporaryFile("w+") as told:
        # A session of its own, so that its children can be told from others.
        process = subprocess.Popen(command, stdout=told, stderr=told, cwd=folder, env=_environment())
        with _watched(process.pid) as peak:
            code = process.wait()
        after = os.times()
        told.seek(0)
        text = told.read()
    if code:
        raise UserError(f"{' '.join(command[:4])} ...: failed: {text.strip()[-600:]}")
    seconds = after.children_user + after.children_system - before.children_user - before.children_system
    return text, max(peak) / 1024, seconds


def _environment() -> dict[str, str]:
    path = [str(Path(entry).resolve()) for entry in sys.path if entry]
    return os.environ | {"PYTHONPATH": os.pathsep.join(path)}


@contextlib.contextmanager
def _watched(pid: int) -> Iterator[list[float]]:
    """KiB that a process and its children hold together, again and again until the block ends."""
    held, ended = [0.0], threading.Event()

    def watch() -> None:
        while not ended.wait(SAMPLE_SECONDS):
            held.append(sum(_proportional_kib(each) for each in _family(pid)))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield held
    finally:
        ended.set()
        thread.join()


def _family(pid: int) -> Iterator[int]:
    yield pid
    with contextlib.suppress(OSError):  # it has ended
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in children.read_text().split():
                yield from _family(int(child))


def _proportional_kib(pid: int) -> float:
    with contextlib.suppress(OSError):
        found = re.search(r"^Pss: +(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
        return float(found[1]) if found else 0.0
    return 0.0


# ---------------------------------------------------------------- what came of it


def ratios(rows: Sequence[dict[str, Run]]) -> dict[str, dict[str, float]]:
    """Ours over timm's, of each figure: the mean over turns and its standard error."""
    found = {}
    for figure in ("images_per_second", "peak_mib", "core_seconds"):
        each = np.array([getattr(row["softvote"], figure) / getattr(row["timm"], figure) for row in rows])
        error = each.std(ddof=1) / np.sqrt(len(each))
        found[figure] = {"mean": round(float(each.mean()), 3), "standard_error": round(float(error), 3)}
    return found


def _table(rows: Sequence[dict[str, Run]]) -> str:
    lines = [
        [name, str(turn + 1), *(f"{value:,.0f}" for value in asdict(run).values())]
        for turn, row in enumerate(rows)
        for name, run in row.items()
    ]
    means = [f"{each['mean']:.2f}±{each['standard_error']:.2f}" for each in ratios(rows).values()]
    lines.append(["softvote / timm", "", *means])
    return render(["", "turn", "images/s", "peak MiB", "core s"], lines)


if __name__ == "__main__":
    sys.exit(main())
