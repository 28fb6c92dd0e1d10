"""What do the stages other than training cost, in time and memory, as rows, members, folds and images grow?

    python scripts/growth.py                                      # docs/growth.json, docs/growth.png
    python scripts/growth.py --rows 1000 10000 --to somewhere
    python scripts/growth.py --only rows --to elsewhere           # one of rows, members, folds, image, most

Around a base of the middle number of rows, 5 members, 5 folds and 28 x 28, one number varies at a time;
`most` is the largest number of rows with 25 members. There are as many test rows as training rows. Each
measurement is a command of softvote in a process of its own, start-up included: `s` is seconds of the clock,
which other work on the machine makes longer, `core s` seconds of the processor's cores, MiB the largest
resident set. `read` and `read again` are the reader and the parsed arrays it left; `train` finds every
training done, and puts the folds of each member together.

No network is trained. Probabilities are a seeded softmax of noise around the true label, about 98 % right for
one member, with noise that the members share; they are written as trainings write them. The images are the
digits of input/digit-recognizer, or those that come with scikit-learn, each time rotated, scaled, shifted and
bent anew, so that a repeated digit is another image; larger images show several.

The exponent is the slope of log core seconds over log rows, members, folds or pixels between the two largest:
1 is linear, and a start-up that still counts makes it smaller.
"""

# Annotations are not deferred: dataclasses cannot look theirs up in a module that was loaded by its path.

import argparse
import math
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from softvote import machine
from softvote.data.digit_layout import SIDE
from softvote.data.readers.digits import DigitImages, read_csv
from softvote.ensembling.predictions import Predictions, write_predictions
from softvote.errors import UserError
from softvote.inference.record import ExecutionRecord, TrainingRecord
from softvote.reporting.tables import render
from softvote.scheduling.job import Job
from softvote.seeds import derive_seed
from softvote.shell import run_program
from softvote.stages import open_run
from softvote.stages.plan import make_plan
from softvote.storage.files import atomic_write, write_json, write_text
from softvote.storage.fingerprints import sha256_of
from softvote.storage.paths import Workspace

Facts = dict[str, Any]
Axis = Literal["rows", "members", "folds", "image", "most"]

SEED = 2026
CLASSES = 10
NAME = "growth"
"""Of the competition and of the pipeline."""
BLOCK = 10_000
"""Images or rows made at once."""
MEMBERS, FOLDS, IMAGES = (1, 5, 25), (2, 5, 10), ((28, 28), (64, 64), (40, 168))
MOST_CSV = 100_000
"""Rows of the largest pixel CSV: it is ten times as large as the array."""
READ = (
    "import sys; from pathlib import Path; from softvote.data.dataset import read_dataset; "
    "from softvote.stages import open_run; run = open_run(Path(sys.argv[1]), sys.argv[2]); "
    "read_dataset(run.pipeline.competition, run.workspace)"
)
STAGES = ("read", "read again", "folds", "train", "ensemble", "submit", "report")


@dataclass(frozen=True)
class Case:
    """One size of work.

    Attributes:
        axis: what varies.
        rows: of training images, and as many of test images.
        format: of the input files.
    """

    axis: Axis
    rows: int
    members: int = 5
    folds: int = 5
    height: int = SIDE
    width: int = SIDE
    format: Literal["npy", "pixel_csv"] = "npy"

    @property
    def size(self) -> int:
        """The number that varies."""
        sizes = {"members": self.members, "folds": self.folds, "image": self.height * self.width}
        return sizes.get(self.axis, self.rows)

    @property
    def title(self) -> str:
        image = f"{self.height} x {self.width}"
        return f"{self.rows:,} rows, {self.members} members, {self.folds} folds, {image}, {self.format}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0, or 1 after a mistake of the user, which is told in a line."""
    parsed = _parser().parse_args(arguments)
    return run_program("growth", lambda: measure(parsed))


def measure(parsed: argparse.Namespace) -> None:
    """Measure every case that is asked for, and show what was found."""
    if min(parsed.rows) < 100:
        raise UserError(f"--rows {min(parsed.rows)}: too few to measure; give 100 or more")
    found = [facts for case in cases(sorted(set(parsed.rows)), parsed.only) for facts in measure_case(case)]
    write_json(parsed.to / "growth.json", {"cores": machine.cores(), "measured": found})
    print(table(found), end="")
    draw(parsed.to / "growth.png", found)
    print(f"wrote {parsed.to / 'growth.json'} and {parsed.to / 'growth.png'}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    rows = [10_000, 100_000, 1_000_000]
    parser.add_argument("--rows", type=int, nargs="+", default=rows, help="numbers of rows (%(default)s)")
    parser.add_argument("--only", choices=Axis.__args__, help="what varies (everything, in turn)")
    parser.add_argument("--to", type=Path, default=Path("docs"), help="folder (%(default)s)")
    return parser


def cases(rows: Sequence[int], only: Axis | None = None) -> list[Case]:
    """Every size of work, each once per axis; `rows` ascend."""
    base, most = Case("rows", rows[len(rows) // 2]), Case("most", rows[-1], max(MEMBERS))
    found = [replace(base, rows=count) for count in rows]
    found += [replace(base, rows=count, format="pixel_csv") for count in rows if count <= MOST_CSV]
    found += [replace(base, axis="members", members=count) for count in MEMBERS]
    found += [replace(base, axis="folds", folds=count) for count in FOLDS]
    found += [replace(base, axis="image", height=height, width=width) for height, width in IMAGES]
    return [case for case in [*found, most] if only in (None, case.axis)]


# ---------------------------------------------------------------- measuring


def measure_case(case: Case) -> Iterator[Facts]:
    """The cost of each stage at one size, one after another as each needs the one before it."""
    print(case.title, file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="softvote-growth-") as folder:
        root = Path(folder)
        _in_a_process(to_memory_format, root, case)
        for stage in STAGES[:2] if case.format == "pixel_csv" else STAGES:
            if stage == "train":
                _in_a_process(make_up_trainings, root)
            cost = run(stage, root)
            print(
                f"  {stage}: {cost['seconds']:.1f} s, {cost['peak_mib']:,} MiB", file=sys.stderr, flush=True
            )
            yield asdict(case) | {"size": case.size, "stage": stage} | cost


def run(stage: str, root: Path) -> Facts:
    """Seconds on the clock and on the cores, and peak memory in MiB, of one stage as a command.

    Raises:
        UserError: the command failed.
    """
    code, words = (["-c", READ], []) if stage.startswith("read") else (["-m", "softvote", "--root"], [stage])
    command = [sys.executable, *code, str(root), *words, NAME]
    started = time.perf_counter()
    with (root / "told.txt").open("w+") as told:
        process = subprocess.Popen(command, stdout=told, stderr=told)
        _, status, usage = os.wait4(process.pid, 0)  # of this process alone, unlike RUSAGE_CHILDREN
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        told.seek(0)
        if process.returncode:
            raise UserError(f"softvote {stage}: failed: {told.read().strip()}")
    return {
        "seconds": round(seconds, 2),
        "core_seconds": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_mib": _mib(usage.ru_maxrss),
    }


def _mib(maxrss: int) -> int:
    return maxrss // (1 << 20 if sys.platform == "darwin" else 1 << 10)


def _in_a_process(body: Callable[..., None], *arguments: Any) -> None:
    """Call in a process that ends: a command's peak is never less than that of what starts it.

    Raises:
        UserError: the process failed.
    """
    process = multiprocessing.get_context("spawn").Process(target=body, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        raise UserError(f"{body.__name__}: failed with exit code {process.exitcode}; it says why above")


# ---------------------------------------------------------------- making up


def to_memory_format(root: Path, case: Case) -> None:
    """Write the competition's files and the pipeline."""
    source, workspace = digits(), Workspace(root)
    folder = workspace.input(NAME)
    folder.mkdir(parents=True)
    rng = np.random.default_rng(derive_seed(SEED, "labels"))
    for split in ("train", "test"):
        chosen = rng.integers(0, len(source.labels), case.rows)
        write = _write_npy if case.format == "npy" else _write_csv
        write(folder, split, source, chosen, case)
    forms = ["Id,Label", *(f"{row},0" for row in range(case.rows)), ""]
    write_text(folder / "sample_submission.csv", "\n".join(forms))
    write_json(workspace.pipelines / f"{NAME}.yaml", _pipeline(case))  # JSON is YAML


def _pipeline(case: Case) -> Facts:
    npy = {"format": "npy", "train": ["train.npy"], "train_labels": ["labels.npy"], "test": ["test.npy"]}
    return {
        "competition": {
            "name": NAME,
            "files": npy if case.format == "npy" else {"format": "pixel_csv"},
            "image": {"height": case.height, "width": case.width},
            "labels": {"first": 0, "last": CLASSES - 1},
        },
        "folds": {"count": case.folds},
        "members": {f"member{number}": {"model": "cnn"} for number in range(case.members)},
    }


def digits() -> DigitImages:
    """The digits of Digit Recognizer where they are, else scikit-learn's, enlarged."""
    path = Workspace(Path()).input("digit-recognizer") / "train.csv"
    if path.is_file():
        return read_csv(path)
    from sklearn.datasets import load_digits

    found = load_digits()
    larger = np.round(found.images * (255 / 16)).astype(np.uint8).repeat(3, axis=1).repeat(3, axis=2)
    return DigitImages(np.pad(larger, ((0, 0), (2, 2), (2, 2))), found.target.astype(np.int64))


def _write_npy(folder: Path, split: str, source: DigitImages, chosen: NDArray[np.int64], case: Case) -> None:
    shape = (case.rows, case.height, case.width)
    array = np.lib.format.open_memmap(folder / f"{split}.npy", "w+", np.uint8, shape)
    for start, images in blocks_of_images(split, source, chosen, case):
        array[start : start + len(images)] = images
    if split == "train":
        np.save(folder / "labels.npy", source.labels[chosen])


def _write_csv(folder: Path, split: str, source: DigitImages, chosen: NDArray[np.int64], case: Case) -> None:
    names = [f"pixel{index}" for index in range(case.height * case.width)]
    with (folder / f"{split}.csv").open("w", encoding="utf-8") as file:
        file.write(",".join(["label"] * (split == "train") + names) + "\n")
        for start, images in blocks_of_images(split, source, chosen, case):
            cells = images.reshape(len(images), -1)
            if split == "train":
                cells = np.column_stack([source.labels[chosen[start : start + len(images)]], cells])
            np.savetxt(file, cells, fmt="%d", delimiter=",")


def blocks_of_images(
    split: str, source: DigitImages, chosen: NDArray[np.int64], case: Case
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Images uint8 (n, H, W) that show the chosen digits, and the row of the first.

    The digit of the label lies on the left, others beside and below it; all are deformed anew.
    """
    import torch

    from softvote.config.augment import Augment
    from softvote.training.augment import create_augmenter

    augment = create_augmenter(Augment(rotate=15, scale=0.15, shear=6, shift=2, elastic=1))
    boxes = [
        (y, x)
        for y in range(0, case.height - SIDE + 1, SIDE + 8)
        for x in range(0, case.width - SIDE + 1, SIDE + 8)
    ]
    for start in range(0, len(chosen), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(chosen)))
        images = np.zeros((len(rows), case.height, case.width), np.uint8)
        for number, (top, left) in enumerate(boxes):
            shown = (chosen[rows] + 977 * number * (rows + 1)) % len(source.labels)
            seed = derive_seed(SEED, split, number)
            deformed = augment(torch.from_numpy(source.images[shown, None]), rows, seed)
            images[:, top : top + SIDE, left : left + SIDE] = deformed.round().byte()[:, 0].numpy()
        yield start, images


def make_up_trainings(root: Path) -> None:
    """What every training of the pipeline would leave, but weights of any use."""
    plan = make_plan(open_run(root, NAME))
    labels, tests = plan.dataset.train_labels, len(plan.dataset.test_pixels)
    for job in plan.jobs:
        rows = np.flatnonzero(plan.folds == job.fold)
        oof, test = (
            probabilities(truth, job, split)
            for split, truth in (("oof", labels[rows]), ("test", np.arange(tests) % CLASSES))
        )
        _write_recipe(job)
        predictions = Predictions(rows, oof, test)
        write_predictions(job.folder, predictions, labels, plan.task, job.prediction_fingerprint)


def probabilities(truth: NDArray[np.int64], job: Job, split: str) -> NDArray[np.float32]:
    """Made-up float32 (n, 10): a row that is hard for one member is so for all."""
    count, number = len(truth), int(job.member_name.removeprefix("member"))
    shared, own = (
        np.random.default_rng(derive_seed(SEED, "probabilities", split, job.fold, name))
        for name in ("shared", job.member_name)
    )
    noise = shared.standard_normal((count, CLASSES), np.float32)
    noise = 1.5 * noise + (1 + 0.01 * number) * own.standard_normal((count, CLASSES), np.float32)
    noise[np.arange(count), truth] += 7
    mass = np.exp(noise - noise.max(axis=1, keepdims=True))
    return np.asarray(mass / mass.sum(axis=1, keepdims=True))


def _write_recipe(job: Job) -> None:
    write_text(job.folder.weights, "none")
    channels = job.inputs["image"][0]
    TrainingRecord(
        fingerprint=job.training_fingerprint,
        member=job.member.model_dump(mode="json"),
        classes=job.inputs["classes"],
        image=job.inputs["image"],
        mean=[0.0] * channels,
        std=[1.0] * channels,
        execution=ExecutionRecord(device="cpu", precision="fp32", memory_format="contiguous"),
        weights_sha256=sha256_of(job.folder.weights),
        inputs=job.inputs,
    ).write(job.folder.recipe)


# ---------------------------------------------------------------- showing


def table(found: Sequence[Facts]) -> str:
    """One stage at one size a line, with the exponent where a stage was measured at two sizes or more."""
    lines = []
    for (axis, kind, stage), group in curves(found):
        slope = exponent(group)
        for each in group:
            image = f"{each['height']} x {each['width']}"
            last = "" if slope is None or each is not group[-1] else f"{slope:.2f}"
            lines.append([
                axis, stage, kind, f"{each['rows']:,}", str(each["members"]), str(each["folds"]), image,
                f"{each['seconds']:.1f}", f"{each['core_seconds']:.1f}", f"{each['peak_mib']:,}", last,
            ])  # fmt: skip
    header = [
        "varies",
        "stage",
        "files",
        "rows",
        "members",
        "folds",
        "image",
        "s",
        "core s",
        "MiB",
        "exponent",
    ]
    return render(header, lines)


def curves(found: Sequence[Facts]) -> list[tuple[tuple[str, str, str], list[Facts]]]:
    """Measurements that differ in their size alone, each group by ascending size."""

    def key(each: Facts) -> tuple[int, int, int]:
        return (Axis.__args__.index(each["axis"]), each["format"] != "npy", STAGES.index(each["stage"]))

    ordered = sorted(found, key=lambda each: (*key(each), each["size"]))
    groups = [list(group) for _, group in groupby(ordered, key)]
    return [((group[0]["axis"], group[0]["format"], group[0]["stage"]), group) for group in groups]


def exponent(group: Sequence[Facts]) -> float | None:
    """Slope of log core seconds over log size between the two largest; None for one size."""
    if len(group) < 2:
        return None
    small, large = group[-2:]
    return math.log(large["core_seconds"] / small["core_seconds"]) / math.log(large["size"] / small["size"])


def draw(path: Path, found: Sequence[Facts]) -> None:
    """Core seconds and memory against what varies, both axes logarithmic; pixel CSVs are dotted."""
    from matplotlib.figure import Figure

    shown = [(key, group) for key, group in curves(found) if len(group) > 1] or curves(found)
    columns = list(dict.fromkeys(axis for (axis, _, _), _ in shown))
    figure = Figure(figsize=(2.9 * len(columns) + 0.8, 5.2), dpi=110)
    grid = figure.subplots(2, len(columns), squeeze=False, sharex="col", sharey="row")
    for (axis, kind, stage), group in shown:
        label, dots = (stage, "-") if kind == "npy" else (f"{stage}, {kind}", ":")
        sizes = [each["size"] for each in group]
        for panel, fact in zip(grid[:, columns.index(axis)], ("core_seconds", "peak_mib"), strict=True):
            values, colour = [each[fact] for each in group], f"C{STAGES.index(stage)}"
            panel.plot(sizes, values, f"o{dots}", color=colour, label=label, markersize=3)
    for (top, bottom), axis in zip(grid.T, columns, strict=True):
        _set_scales(top, bottom, axis, [each["size"] for each in found if each["axis"] == axis])
    grid[0, 0].set_ylabel("core seconds")
    grid[1, 0].set_ylabel("peak memory, MiB")
    lines = {line.get_label(): line for panel in grid.flat for line in panel.lines}
    figure.legend(lines.values(), lines, loc="upper center", ncols=4, fontsize=8)
    figure.tight_layout(rect=(0, 0, 1, 0.9))
    with atomic_write(path) as temporary:
        figure.savefig(temporary)


def _set_scales(top: Any, bottom: Any, axis: str, sizes: Sequence[int]) -> None:
    """Logarithmic, with ticks where something was measured."""
    from matplotlib.ticker import LogLocator

    for panel in (top, bottom):
        panel.set(xscale="log", yscale="log")
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.yaxis.set_major_formatter("{x:,g}")
        panel.minorticks_off()
        panel.grid(color="0.9")
    bottom.set_xticks(sorted(set(sizes)), labels=[f"{size:,}" for size in sorted(set(sizes))])
    bottom.set_xlabel({"image": "pixels per image", "most": f"rows, {max(MEMBERS)} members"}.get(axis, axis))


if __name__ == "__main__":
    sys.exit(main())
