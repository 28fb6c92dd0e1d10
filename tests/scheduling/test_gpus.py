"""softvote.scheduling.gpus: who fits where, and what a training takes; measured on the processor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from batches import with_extra_rows
from conftest import Digits
from torch import nn

from softvote.config.recipe import Member
from softvote.heads import create_head
from softvote.heads.base import HeadSpec
from softvote.inference.network import Network, create_network
from softvote.scheduling.gpus import assign_gpus, largest_training_bytes, measure_saved_bytes, training_bytes
from softvote.scheduling.worker import training_rows
from softvote.task import Task

MIB = 1 << 20
IMAGE = (1, 28, 28)


@pytest.mark.parametrize(
    ("free", "most", "dealt"),
    [
        ([100], 3, [0] * 3),
        ([100], 20, [0] * 4),  # more would not be faster
        ([35], 20, [0] * 3),
        ([100, 100], 5, [0, 1, 0, 1, 0]),
        ([25, 100, 9], 9, [0, 1, 0, 1, 1, 1]),
        ([25, 0], 9, [0, 0]),
        ([4, 9], 8, [1]),  # it does not fit, and will say so itself
        ([0], 8, [0]),
    ],
)
def test_gpus_are_dealt_in_turns_as_long_as_jobs_fit(free: list[int], most: int, dealt: list[int]) -> None:
    assert assign_gpus(free, 10, most) == dealt


def network(model: nn.Module) -> Network:
    return Network(model, create_head("softmax", HeadSpec(10, None, 0.0, None)), Task(10))


def test_what_a_step_saves_is_counted_once_and_without_weights() -> None:
    """The images for the first layer, and what leaves it, which is for the second layer and ReLU alike."""
    layers = nn.Sequential(nn.Flatten(), nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 10))
    assert measure_saved_bytes(network(layers), IMAGE) == 4 * (784 + 300)


def bytes_of(rows: int = 1000, image: tuple[int, int, int] = IMAGE, **facts: Any) -> int:
    member = Member(model="cnn", **facts)
    return training_bytes(member, create_network(member, Task(10), image), image, rows)


def test_data_batches_and_what_goes_with_weights_take_memory() -> None:
    plain = bytes_of()
    assert bytes_of(rows=11_000) - plain == 10_000 * 784
    weights = 4 * sum(
        value.numel() for value in create_network(Member(model="cnn"), Task(10), IMAGE).model.parameters()
    )
    assert bytes_of(ema=0.9) - plain == weights == plain - bytes_of(optimizer={"name": "sgd"})
    twice = bytes_of(batch_size=256) - plain
    assert twice == pytest.approx(2 * (plain - bytes_of(batch_size=64)), rel=0.01) and twice > 128 * 4 * 784
    assert bytes_of(batch_size=4096) == bytes_of(batch_size=1000)  # no batch is larger than the data


def test_cuda_takes_memory_before_there_is_any_data() -> None:
    assert bytes_of(rows=2) > 500 * MIB > bytes_of(rows=2) - 300 * MIB


@pytest.mark.parametrize("alone", [False, True])
def test_the_largest_training_is_the_one_with_extra_rows(tmp_path: Path, digits: Digits, alone: bool) -> None:
    work, image = with_extra_rows(tmp_path, digits, alone), (1, 8, 8)
    needed = []
    for job in work.jobs:
        rows = len(training_rows(job, work.dataset(), work.folds).rows)
        assert work.rows(job) == rows
        needed.append(training_bytes(job.member, create_network(job.member, job.task, image), image, rows))
    assert largest_training_bytes(work, 1 << 30) == max(needed) == needed[1] > needed[0]


def test_rows_that_stay_on_disk_take_no_memory_of_a_gpu(tmp_path: Path, digits: Digits) -> None:
    """As `StoredSplit.to` decides by all images that are stored, of which a fold takes some."""
    work, image = with_extra_rows(tmp_path, digits, False), 8 * 8
    stored = (len(work.folds) + 200) * image
    whole, few = (largest_training_bytes(work, 4 * stored - less) for less in (0, 1))
    plain, more = work.rows(work.jobs[0]), work.rows(work.jobs[1])
    assert whole - few == (more - plain) * image  # the plain one has fewer, which lie there still


@pytest.mark.parametrize(
    ("model", "image", "least", "most"), [("cnn", IMAGE, 0.2, 1), ("resnet18", (3, 64, 64), 1, 4)]
)
def test_an_image_takes_what_networks_of_its_size_do(
    model: str, image: tuple[int, int, int], least: float, most: float
) -> None:
    with torch.random.fork_rng():
        made = create_network(Member(model=model), Task(10), image)
    assert least * MIB < measure_saved_bytes(made, image) < most * MIB


def test_a_network_that_takes_an_addend_can_be_measured() -> None:
    made = create_network(Member(model="adder_net"), Task(19, 1, True), IMAGE)
    assert measure_saved_bytes(made, IMAGE) > 4 * 784


def test_a_single_number_for_labels_is_no_row(tmp_path: Path, digits: Digits) -> None:
    """The job itself says what is wrong with the file."""
    work = with_extra_rows(tmp_path, digits, False)
    extra = next(job.member.extra_train for job in work.jobs if job.member.extra_train)
    np.save(work.workspace.inputs / extra.labels, np.array(3))
    assert [work.extra_rows(job) for job in work.jobs] == [0] * len(work.jobs)
