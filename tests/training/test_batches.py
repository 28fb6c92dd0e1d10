"""training.batches: what is read ahead, or changed by processes, is what a step would have gathered."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Digits
from numpy.typing import NDArray
from transforms import change, fail, shift

from softvote.config.recipe import Member
from softvote.data.pixels import MappedPixels
from softvote.data.split import ImageSplit
from softvote.task import Task
from softvote.training import batches as module
from softvote.training.batches import BatchLoader, SeededTransform
from softvote.training.learner import Learner
from softvote.training.rows import Split, StoredSplit
from softvote.training.train import TrainingSpec, train

pytestmark = pytest.mark.usefixtures("forkserver")

ROWS = np.arange(40, 0, -2)
ORDER = [np.array([3, 1, 2]), np.array([0, 19]), np.array([5, 5]), np.array([7]), np.array([8, 9])]


def splits(folder: Path, digits: Digits) -> dict[str, Split]:
    """The same rows, in memory, in an array, and mapped."""
    images, labels = digits[0][:50, None].copy(), digits[1][:50]
    np.save(folder / "pixels.npy", images)
    stored = ImageSplit(MappedPixels(folder / "pixels.npy"), labels)
    tensors = Split(torch.from_numpy(images[ROWS]), torch.from_numpy(labels[ROWS]), ROWS)
    return {
        "tensor": tensors,
        "array": Split.of(ImageSplit(images, labels), ROWS),
        "mapped": Split.of(stored, ROWS),
    }


@pytest.mark.parametrize("kind", ["tensor", "array", "mapped"])
@pytest.mark.parametrize("workers", [None, 0, 2])
def test_batches_are_what_is_asked_for_in_that_order(
    tmp_path: Path, digits: Digits, kind: str, workers: int | None
) -> None:
    data, images = splits(tmp_path, digits)[kind], digits[0][:, None]
    transform = None if workers is None else SeededTransform(change, 7)
    with BatchLoader(data, 3, workers) as loader:
        for epoch in range(2):
            loaded = list(loader.load(ORDER, transform))
            assert len(loaded) == len(ORDER), epoch
            for (batch, which), positions in zip(loaded, ORDER, strict=True):
                some = batch.take(which)
                expected = images[ROWS[positions]]
                if transform is not None:
                    expected = change(expected, ROWS[positions], 7)
                assert np.array_equal(some.images.numpy(), expected)
                assert np.array_equal(some.rows, ROWS[positions])
                assert some.image_labels.tolist() == digits[1][ROWS[positions]].tolist()


@pytest.mark.parametrize("kind", ["array", "mapped"])
def test_a_batch_is_read_while_the_one_before_is_used(
    tmp_path: Path, digits: Digits, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SMALL", 0)
    data = splits(tmp_path, digits)[kind]
    read, take = [], StoredSplit.read

    def note(self: StoredSplit, which: NDArray[np.int64]) -> Split:
        read.append(threading.current_thread().name)
        return take(self, which)

    monkeypatch.setattr(StoredSplit, "read", note)
    with BatchLoader(data, 3) as loader, contextlib.closing(loader.load(ORDER)) as batches:
        next(batches)
        began = time.monotonic()
        while len(read) < 4 and time.monotonic() - began < 10:
            time.sleep(0.001)
        assert len(read) == 4 and all(name.startswith("batches") for name in read)
        next(batches)
    assert threading.current_thread().name not in read
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batches")]


def test_small_arrays_are_gathered_by_the_step(tmp_path: Path, digits: Digits) -> None:
    data = splits(tmp_path, digits)["array"]
    with BatchLoader(data, 3) as loader:
        assert [each is data for each, _ in loader.load(ORDER)] == [True] * len(ORDER)
        assert loader.waited == 0


@pytest.mark.parametrize("workers", [0, 1])
def test_a_transform_that_fails_ends_the_training(tmp_path: Path, digits: Digits, workers: int) -> None:
    data = splits(tmp_path, digits)["mapped"]
    with BatchLoader(data, 3, workers) as loader, pytest.raises(ValueError, match="no such image"):
        list(loader.load(ORDER, SeededTransform(fail, 0)))


# ---------------------------------------------------------------- whole trainings


def trained(data: Split, **facts: Any) -> dict[str, torch.Tensor]:
    recipe = {
        "model": "resnet5", "epochs": 1, "batch_size": 8, "precision": "fp32", "memory_format": "contiguous"
    }  # fmt: skip
    member = Member.model_validate(recipe | facts)
    found = train(TrainingSpec(member, Task(10), 0, "tiny"), data)
    return found.network.model.state_dict()


FACTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "augmented": {"augment": {"rotate": 10}},
    "balanced": {"sampling": "balanced"},
    "held out": {"schedule": {"name": "plateau", "watch": "held_out", "held_out": 0.2}},
}


@pytest.mark.slow_but("0-plain", "0-augmented", "1048576-plain", "0-held out")
@pytest.mark.parametrize("facts", FACTS)
@pytest.mark.parametrize("small", [0, 1 << 20])
def test_where_images_lie_changes_no_bit(
    tmp_path: Path, digits: Digits, facts: str, small: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SMALL", small)
    given = splits(tmp_path, digits)
    expected = trained(given.pop("tensor"), **FACTS[facts])
    for kind, data in given.items():
        found = trained(data, **FACTS[facts])
        assert all(torch.equal(value, expected[name]) for name, value in found.items()), kind


def test_a_transform_on_the_processor_is_what_is_learnt_from(
    tmp_path: Path, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_transform(seed_of: Callable[[int], int]) -> dict[str, torch.Tensor]:
        monkeypatch.setattr(Learner, "transform", lambda self, epoch: SeededTransform(shift, seed_of(epoch)))
        return trained(splits(tmp_path, digits)["mapped"])

    plain = trained(splits(tmp_path, digits)["mapped"])
    none, same, other = with_transform(lambda epoch: 1), with_transform(lambda epoch: 1), with_transform(int)
    assert all(torch.equal(value, same[name]) for name, value in none.items())
    for found in (plain, other):
        assert not all(torch.equal(value, none[name]) for name, value in found.items())
