"""training.teaching: what a teacher adds to the loss of every head, and to every way of taking steps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Digits
from kinds import HEADS_OF_CLASSES, KINDS
from torch import Tensor

from softvote.config.recipe import Member
from softvote.data.split import ImageSplit
from softvote.heads import HEADS
from softvote.inference.predictor import Predictor
from softvote.task import Task
from softvote.training.rows import SoftTargets, Split, StoredSplit
from softvote.training.teaching import teach
from softvote.training.train import TrainedNetwork, TrainingSpec, train

ROWS, UNLABELLED = 61, 21

CASES = [
    (name, Task(10, 1 if head.needs_hidden_digits else None))
    for name in HEADS_OF_CLASSES
    if (head := HEADS[name]).takes_teacher
]
CASES += [(kind.head, kind.task) for kind in KINDS.values()]
every_head = pytest.mark.parametrize(("head", "task"), CASES, ids=[head for head, _ in CASES])


def labels_of(digits: Digits, task: Task) -> Tensor:
    kind = KINDS.get(task.kind)
    return torch.from_numpy(kind.labels(digits[1][:ROWS]) if kind else digits[1][:ROWS])


def rows_of(digits: Digits, task: Task) -> Split:
    return Split(torch.from_numpy(digits[0][:ROWS, None]), labels_of(digits, task), np.arange(ROWS))


def certain(data: Split, task: Task, labelled: int = ROWS) -> SoftTargets:
    """A teacher who is sure of the labels."""
    sure = torch.from_numpy(task.columns(data.image_labels.numpy())).float()
    return SoftTargets(sure, torch.arange(ROWS) < labelled)


def drawn(data: Split, task: Task, labelled: int = ROWS) -> SoftTargets:
    """A teacher who says something else of each row."""
    found = torch.rand(ROWS, task.num_classes, generator=torch.Generator().manual_seed(0))
    for block in task.blocks:
        found[:, block] /= found[:, block].sum(1, keepdim=True)
    return SoftTargets(found, torch.arange(ROWS) < labelled)


def learn(
    data: Split, task: Task, head: str, teacher: dict[str, Any] | None = None, **facts: Any
) -> TrainedNetwork:
    usual = {
        "model": "cnn", "epochs": 2, "batch_size": 15, "precision": "fp32", "memory_format": "contiguous",
        "optimizer": {"name": "sgd", "lr": 0.02},
    }  # fmt: skip
    said = {"teacher": {"member": "other"} | teacher} if teacher is not None else {}
    member = Member.model_validate(usual | facts | said | {"head": head})
    classes = [str(column) for column in range(task.num_classes)]
    return train(TrainingSpec(member, task, 0, "tiny fold 0", classes=classes), data)


def assert_alike(one: TrainedNetwork, other: TrainedNetwork, within: float) -> None:
    theirs = other.network.model.state_dict()
    for name, value in one.network.model.state_dict().items():
        torch.testing.assert_close(value, theirs[name], rtol=within, atol=within)
    assert one.log[-1]["loss"] == pytest.approx(other.log[-1]["loss"], rel=10 * within + 1e-6)


def differ(one: TrainedNetwork, other: TrainedNetwork) -> bool:
    theirs = other.network.model.state_dict()
    return any(not torch.equal(value, theirs[name]) for name, value in one.network.model.state_dict().items())


WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "mixup": {"mixup": 0.5},
    "cutmix": {"cutmix": 1.0},
    "augmented": {"augment": {"rotate": 10}, "view": {"name": "crop", "size": 7}},
    "balanced": {"sampling": "balanced"},
    "held_out": {"schedule": {"name": "plateau", "watch": "held_out", "held_out": 0.2, "patience": 0}},
    "micro_batch": {"micro_batch": 4, "mixup": 0.5},
}


@pytest.mark.slow_but("plain-softmax", "cutmix-digits", "plain-tags")
@every_head
@pytest.mark.parametrize("facts", [WAYS["plain"], WAYS["cutmix"]], ids=["plain", "cutmix"])
def test_a_teacher_who_is_sure_of_the_labels_changes_nothing(
    digits: Digits, head: str, task: Task, facts: dict[str, Any]
) -> None:
    data = rows_of(digits, task)
    facts = facts | {"epochs": 1}  # each step makes more of rounding
    taught = learn(replace(data, soft=certain(data, task)), task, head, {"weight": 0.6}, **facts)
    assert_alike(taught, learn(data, task, head, **facts), within=1e-3)


@pytest.mark.slow_but("plain", "mixup", "held_out")
@pytest.mark.parametrize("facts", WAYS.values(), ids=WAYS)
def test_targets_belong_to_their_row(digits: Digits, facts: dict[str, Any]) -> None:
    """Whatever mixes, draws, splits or turns images: else this teacher would teach other labels."""
    data, task = rows_of(digits, Task(10)), Task(10)
    taught = learn(replace(data, soft=certain(data, task)), task, "softmax", {"weight": 1}, **facts)
    assert_alike(taught, learn(data, task, "softmax", **facts), within=1e-3)


@pytest.mark.slow_but("softmax", "tags")
@every_head
def test_labels_that_nobody_knows_are_not_read(digits: Digits, head: str, task: Task) -> None:
    data = rows_of(digits, task)
    soft = drawn(data, task, ROWS - UNLABELLED)
    other = data.image_labels.clone()
    other[-UNLABELLED:] = other[-UNLABELLED:].flip(0)
    assert not torch.equal(other, data.image_labels)
    one, two = (
        learn(replace(data, image_labels=labels, soft=soft), task, head, {"weight": 0.3})
        for labels in (data.image_labels, other)
    )
    assert not differ(one, two)
    known = replace(soft, labelled=torch.ones(ROWS, dtype=torch.bool))
    assert differ(one, learn(replace(data, soft=known), task, head, {"weight": 0.3}))


@pytest.mark.parametrize("weights", ["balanced", {"7": 3.0}])
def test_classes_are_weighed_by_known_labels(digits: Digits, weights: Any) -> None:
    data, task = rows_of(digits, Task(10)), Task(10)
    soft = drawn(data, task, ROWS - UNLABELLED)
    zeros = data.image_labels.clone()
    zeros[-UNLABELLED:] = 0
    one, two = (
        learn(replace(data, image_labels=labels, soft=soft), task, "softmax", {}, class_weights=weights)
        for labels in (data.image_labels, zeros)
    )
    assert not differ(one, two)


def test_temperature_and_weight_count(digits: Digits) -> None:
    data, task = rows_of(digits, Task(10)), Task(10)
    taught = replace(data, soft=drawn(data, task))
    one = learn(taught, task, "softmax", {})
    assert differ(one, learn(taught, task, "softmax", {"temperature": 4}))
    assert differ(one, learn(taught, task, "softmax", {"weight": 0.4}))
    assert not differ(one, learn(taught, task, "softmax", {}))


@pytest.mark.slow_but("softmax", "tags")
@pytest.mark.parametrize(("head", "task"), CASES, ids=[head for head, _ in CASES])
def test_teachers_say_the_mean_and_name_what_has_no_label(digits: Digits, head: str, task: Task) -> None:
    data = rows_of(digits, task)
    each = [learn(data, task, head, epochs=epochs) for epochs in (1, 2)]
    teachers = [Predictor(one.network, one.normalisation, one.compute_config) for one in each]
    stored = Split.of(ImageSplit(digits[0][:ROWS, None], data.image_labels.numpy()), np.arange(ROWS))
    taught = teach(stored, teachers, UNLABELLED)
    assert isinstance(taught, StoredSplit) and taught.soft is not None
    expected = np.mean([teacher.probabilities(digits[0][:ROWS, None]) for teacher in teachers], axis=0)
    np.testing.assert_allclose(taught.soft.probabilities.numpy(), expected, atol=1e-6)
    assert taught.soft.labelled.tolist() == [True] * (ROWS - UNLABELLED) + [False] * UNLABELLED
    known = slice(ROWS - UNLABELLED)
    assert torch.equal(taught.image_labels[known], data.image_labels[known])
    named = task.name(expected[ROWS - UNLABELLED :])
    assert torch.equal(taught.image_labels[ROWS - UNLABELLED :], torch.from_numpy(named))
    assert torch.equal(stored.image_labels, data.image_labels)  # which others may share
    some = taught.select(np.array([3, 60])).soft
    assert some is not None and some.labelled.tolist() == [True, False]
    assert torch.equal(some.probabilities, taught.soft.probabilities[[3, 60]])
