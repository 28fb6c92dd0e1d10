"""What do many photographs cost: decoding, memory of trainings side by side, and waiting for data?

    python scripts/growth_images.py                           # 50,000 images of 224 x 224; 8 GB of disk
    python scripts/growth_images.py --images 2000 --to elsewhere

Some hundred different JPEG files of 320 x 240 are made and linked under as many names as are asked for. They
are decoded by a loop of Pillow in one process and by softvote, by turns; then read whole into the cache; then
two processes train at once for some steps on different folds. All is measured where it happens: private
memory is what /proc/self/smaps_rollup calls Private_Clean and Private_Dirty, looked at twice a second; a page
that two processes map counts half in each one's Pss. Nothing of the images is left.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from softvote import machine
from softvote.config.competition import Competition
from softvote.config.recipe import Member
from softvote.data.file_images import FileImages, ImageRow
from softvote.data.image_values import EncodedImage
from softvote.errors import ErrorCollector
from softvote.shell import run_program
from softvote.storage.files import write_json
from softvote.storage.paths import Workspace

SIDE, DIFFERENT, CLASSES, NAME = 224, 300, 10, "photographs"
FILE_SIZE = (320, 240)
ROUNDS = 3
DECODED = 2100  # images a round, as many as a competition has
TEST = 100


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0, or 1 after a mistake of the user, which is told in a line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=50_000, help="of the training set (%(default)s)")
    parser.add_argument("--steps", type=int, default=20, help="that are timed (%(default)s)")
    parser.add_argument("--to", type=Path, default=Path("docs"), help="folder (%(default)s)")
    parsed = parser.parse_args(arguments)
    return run_program("growth_images", lambda: measure(parsed.images, parsed.steps, parsed.to))


def measure(images: int, steps: int, to: Path) -> None:
    """Measure everything, show it and write it."""
    with tempfile.TemporaryDirectory(prefix="softvote-growth-") as folder:
        root = Path(folder)
        write_images(root, images)
        found: dict[str, Any] = {
            "cores": machine.cores(), "images": images, "size": [3, SIDE, SIDE],
            "load_before": round(os.getloadavg()[0], 1),
        }  # fmt: skip
        show(found, "decoding", decoding(root))
        show(found, "reading", _apart(read, [(root,)])[0])
        show(found, "training", _apart(train_some, [(root, fold, steps) for fold in (0, 1)]))
        found["load_after"] = round(os.getloadavg()[0], 1)
    write_json(to / "growth-images.json", found)
    print(f"wrote {to / 'growth-images.json'}")


def show(found: dict[str, Any], name: str, facts: Any) -> None:
    """Add what was measured, and print it."""
    found[name] = facts
    print(f"{name}: {json.dumps(facts)}", flush=True)


def write_images(root: Path, images: int) -> None:
    """The competition's files."""
    from PIL import Image

    rng, folder = np.random.default_rng(2026), Workspace(root).input(NAME)
    (folder / "made").mkdir(parents=True)
    for number in range(DIFFERENT):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8))
        smooth = np.asarray(coarse.resize(FILE_SIZE, Image.Resampling.BICUBIC)).astype(np.int16)
        noisy = (smooth + rng.integers(-10, 11, smooth.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / "made" / f"{number}.jpg", quality=88)
    for label in range(CLASSES):
        (folder / "train" / str(label)).mkdir(parents=True)
    (folder / "test").mkdir()
    for number in range(images):
        os.link(
            folder / "made" / f"{number % DIFFERENT}.jpg",
            folder / "train" / str(number % CLASSES) / f"{number:06}.jpg",
        )
    for number in range(TEST):
        os.link(folder / "made" / f"{number}.jpg", folder / "test" / f"{number}.jpg")
    lines = ["id,label", *(f"{number},0" for number in range(TEST)), ""]
    (folder / "sample_submission.csv").write_text("\n".join(lines))


def competition() -> Competition:
    """Photographs in a folder for each class."""
    return Competition.model_validate(
        {
            "name": NAME,
            "files": {"format": "class_folders"},
            "image": {"height": SIDE, "width": SIDE, "channels": 3, "resize": True},
            "labels": {"first": 0, "last": CLASSES - 1},
        }
    )


def decoding(root: Path) -> dict[str, Any]:
    """Images per second, and milliseconds of cores per image, of a loop of Pillow and of softvote.

    Each is the median of some rounds by turns; what else the machine does changes seconds, but hardly those
    of cores.
    """
    from PIL import Image

    paths = sorted((Workspace(root).input(NAME) / "made").glob("*.jpg"))
    many = paths * (DECODED // len(paths))
    ours = FileImages(competition().image, [ImageRow("", (EncodedImage.of(path),)) for path in many])

    def loop() -> None:
        for path in paths:
            with Image.open(path) as opened:
                small = opened.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
                np.ascontiguousarray(np.asarray(small).transpose(2, 0, 1))

    def go_through() -> None:
        for _ in ours.go_through(ErrorCollector(), "made"):
            pass

    ways = {"pillow_loop": (loop, len(paths)), "softvote": (go_through, len(many))}
    rounds = [{name: _seconds(*way) for name, way in ways.items()} for _ in range(ROUNDS + 1)][1:]
    found: dict[str, Any] = {}
    for place, what in enumerate(("times_as_fast", "times_as_fast_per_core_second")):
        found[what] = statistics.median(
            each["pillow_loop"][place] / each["softvote"][place] for each in rounds
        )
    for name in ways:
        found[f"{name}_per_second"] = round(statistics.median(1 / each[name][0] for each in rounds))
        found[f"{name}_core_ms"] = 1000 * statistics.median(each[name][1] for each in rounds)
    return {name: round(value, 2) for name, value in found.items()}


def _seconds(decode: Callable[[], None], images: int) -> tuple[float, float]:
    """Seconds per image, on the clock and of cores."""
    began, before = time.perf_counter(), time.process_time()
    decode()
    return (time.perf_counter() - began) / images, (time.process_time() - before) / images


class MemoryWatch:
    """The most memory of this process, in MiB, looked at twice a second; Pss at its largest Rss."""

    def __init__(self) -> None:
        self.most = dict.fromkeys(("private", "anonymous"), 0.0)
        self.at_largest = {"rss": 0.0, "pss": 0.0}
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        while True:
            now = memory()
            self.most = {name: max(most, now[name]) for name, most in self.most.items()}
            if now["rss"] > self.at_largest["rss"]:
                self.at_largest = {name: now[name] for name in ("rss", "pss")}
            time.sleep(0.5)


def memory() -> dict[str, float]:
    """Of this process, in MiB."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
    of = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines}
    return {
        "private": of["Private_Clean"] + of["Private_Dirty"], "anonymous": of["Anonymous"],
        "rss": of["Rss"], "pss": of["Pss"],
    }  # fmt: skip


def read(root: Path) -> dict[str, Any]:
    """Decode all images into the cache, and read them again."""
    from softvote.data.dataset import read_dataset

    watch, began = MemoryWatch(), time.perf_counter()
    dataset = read_dataset(competition(), Workspace(root))
    between = time.perf_counter()
    read_dataset(competition(), Workspace(root))
    return {
        "seconds": round(between - began, 1),
        "images_per_second": round((len(dataset.train_pixels) + TEST) / (between - began)),
        "seconds_again": round(time.perf_counter() - between, 2),
        "most_private_mib": round(watch.most["private"]),
    }


def train_some(root: Path, fold: int, steps: int) -> dict[str, Any]:
    """Train on four fifths of the images for some steps."""
    import torch

    from softvote.data.dataset import read_dataset
    from softvote.task import Task
    from softvote.training.callbacks import Callback
    from softvote.training.rows import Split
    from softvote.training.state import TrainingState
    from softvote.training.train import TrainingSpec, train

    class StopAfterSteps(Callback):
        """Remembers what the steps cost after the first."""

        facts: dict[str, Any]

        def on_step(self, state: TrainingState) -> None:
            """Stop when enough were taken."""
            epoch = state.epoch
            if state.steps == 1:
                self.first = (epoch.seconds, epoch.waited)
            if state.steps == steps + 1:
                seconds, waited = epoch.seconds - self.first[0], epoch.waited - self.first[1]
                self.facts = {
                    "images_per_second": round(steps * state.batch_rows / seconds, 1),
                    "waited_percent": round(100 * waited / seconds, 2),
                }
                state.stop()

    torch.set_num_threads(1)
    watch, callback = MemoryWatch(), StopAfterSteps()
    data = read_dataset(competition(), Workspace(root)).train
    rows = np.flatnonzero(np.arange(len(data)) % 5 != fold)
    recipe = {
        "model": "resnet18", "epochs": 1, "batch_size": 16,
        "augment": {"rotate": 10}, "precision": "fp32", "memory_format": "channels_last",
    }  # fmt: skip
    spec = TrainingSpec(Member.model_validate(recipe), Task(CLASSES), 0, f"fold {fold}")
    train(spec, Split.of(data, rows), [callback])
    return callback.facts | {
        "most_private_mib": round(watch.most["private"]), "anonymous_mib": round(watch.most["anonymous"]),
        "rss_mib": round(watch.at_largest["rss"]), "pss_mib": round(watch.at_largest["pss"]),
    }  # fmt: skip


def _apart(body: Any, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
    """What a function returns in processes of its own, all at once."""
    with multiprocessing.get_context("spawn").Pool(len(arguments)) as pool:
        return pool.starmap(body, arguments, chunksize=1)


if __name__ == "__main__":
    sys.exit(main())
