"""Make up what the stages work on: images, a pipeline, and trainings that nobody trained."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from growth.cases import CLASSES, NAME, Case, Facts
from softvote.data.digit_layout import SIDE
from softvote.data.readers.digits import DigitImages, read_csv
from softvote.ensembling.predictions import Predictions, write_predictions
from softvote.inference.record import ExecutionRecord, TrainingRecord
from softvote.scheduling.job import Job
from softvote.seeds import derive_seed
from softvote.stages import open_run
from softvote.stages.plan import make_plan
from softvote.storage.files import write_json, write_text
from softvote.storage.fingerprints import sha256_of
from softvote.storage.paths import Workspace

SEED = 2026
BLOCK = 10_000
"""Images or rows made at once."""


def write_competition(root: Path, case: Case) -> None:
    """Write the competition's files and the pipeline."""
    source, workspace = load_digit_images(), Workspace(root)
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


def load_digit_images() -> DigitImages:
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
            make_up_probabilities(truth, job, split)
            for split, truth in (("oof", labels[rows]), ("test", np.arange(tests) % CLASSES))
        )
        _write_recipe(job)
        predictions = Predictions(rows, oof, test)
        write_predictions(job.folder, predictions, labels, plan.task, job.prediction_fingerprint)


def make_up_probabilities(truth: NDArray[np.int64], job: Job, split: str) -> NDArray[np.float32]:
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
