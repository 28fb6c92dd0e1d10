"""softvote.heads.losses: each is the published one, and weights and smoothing do what they say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from timm.loss import AsymmetricLossMultiLabel
from torch import Tensor
from torch.nn import functional

from softvote.heads import HEADS, create_head
from softvote.heads.base import HeadSpec
from softvote.heads.losses import LOSSES
from softvote.task import Task

ROWS = 40
TASKS = [
    Task(4),
    Task(4, kind="ordered"),
    Task(3, kind="tags"),
    Task(6, kind="targets", target_sizes=(2, 4)),
]
CASES = [(loss, task) for loss, kind in LOSSES.items() for task in TASKS if task.kind in kind.kinds]

losses = pytest.mark.parametrize(("loss", "task"), CASES, ids=[f"{loss}-{task.kind}" for loss, task in CASES])


def head_of(task: Task, loss: str = "cross_entropy", weights: Any = None, smoothing: float = 0.0) -> Any:
    name = next(name for name, head in HEADS.items() if head.default_of == task.kind)
    config = LOSSES[loss](name=loss)
    spec = HeadSpec(
        task.num_classes, label_smoothing=smoothing, target_sizes=task.target_sizes, loss=config,
        class_weights=weights,
    )  # fmt: skip
    return create_head(name, spec)


def rows_of(task: Task, head: Any) -> tuple[Tensor, Tensor]:
    drawn = torch.Generator().manual_seed(0)
    outputs = 3 * torch.randn(ROWS, head.num_outputs, generator=drawn)
    if task.kind == "tags":
        return outputs, torch.randint(2, (ROWS, task.num_classes), generator=drawn)
    sizes = task.target_sizes or (task.num_classes,)
    labels = torch.stack([torch.randint(size, (ROWS,), generator=drawn) for size in sizes], 1)
    return outputs, labels if task.kind == "targets" else labels[:, 0]


@pytest.mark.slow_but(
    "cross_entropy-classes", "focal-classes", "focal-tags", "asymmetric-tags", "cross_entropy-ordered"
)
@losses
def test_what_is_right_for_sure_costs_nothing(loss: str, task: Task) -> None:
    head = head_of(task, loss)
    outputs, labels = rows_of(task, head)
    outputs = torch.zeros_like(outputs)
    for _ in range(400):
        outputs = outputs.detach().requires_grad_()
        head.loss(outputs, labels).backward()
        assert outputs.grad is not None
        outputs = outputs - 3 * ROWS * outputs.grad
    found = head.probabilities(outputs.detach()).numpy()
    assert (task.name(found) == labels.numpy()).all()
    assert head.loss(outputs, labels) < head.loss(-outputs, labels) / 50


@losses
def test_weights_of_one_change_nothing(loss: str, task: Task) -> None:
    plain = head_of(task, loss)
    outputs, labels = rows_of(task, plain)
    weighted = head_of(task, loss, np.ones((2, task.num_classes), np.float32))
    torch.testing.assert_close(weighted.loss(outputs, labels), plain.loss(outputs, labels))


@losses
def test_a_weight_multiplies_the_rows_that_show_its_class(loss: str, task: Task) -> None:
    weights = np.ones((2, task.num_classes), np.float32)
    weights[1, 1] = 5.0
    plain, weighted = head_of(task, loss), head_of(task, loss, weights)
    outputs, labels = rows_of(task, plain)
    shows = torch.from_numpy(task.columns(labels.numpy())[:, 1])
    for row in range(ROWS):
        one, other = (head.loss(outputs[[row]], labels[[row]]) for head in (plain, weighted))
        if not shows[row]:
            torch.testing.assert_close(other, one)
        elif task.is_single_label:
            torch.testing.assert_close(other, 5 * one)
        else:
            assert other > one
    assert shows.any() and not shows.all()


def test_a_weight_of_absence_multiplies_rows_without_the_tag() -> None:
    task = TASKS[2]
    weights = np.array([[3, 3, 3], [1, 1, 1]], np.float32)
    outputs, labels = rows_of(task, head_of(task))
    absent = torch.zeros_like(labels)
    expected = 3 * functional.binary_cross_entropy_with_logits(outputs, absent.float())
    torch.testing.assert_close(head_of(task, weights=weights).loss(outputs, absent), expected)
    torch.testing.assert_close(
        head_of(task, weights=weights).loss(outputs, labels.clamp_min(1)),
        functional.binary_cross_entropy_with_logits(outputs, torch.ones_like(outputs)),
    )


def test_focal_loss_is_cross_entropy_times_a_power_of_what_is_missing() -> None:
    head = head_of(TASKS[0], "focal")
    outputs, labels = rows_of(TASKS[0], head)
    right = outputs.softmax(1)[torch.arange(ROWS), labels]
    torch.testing.assert_close(head.loss(outputs, labels), (-((1 - right) ** 2) * right.log()).mean())
    tags = head_of(TASKS[2], "focal")
    outputs, present = rows_of(TASKS[2], tags)
    right = torch.where(present > 0, outputs.sigmoid(), 1 - outputs.sigmoid())
    torch.testing.assert_close(tags.loss(outputs, present), (-((1 - right) ** 2) * right.log()).mean())


@pytest.mark.parametrize("clip", [0.0, 0.05])
def test_asymmetric_loss_is_that_of_timm(clip: float) -> None:
    outputs, present = rows_of(TASKS[2], head_of(TASKS[2]))
    ours = LOSSES["asymmetric"](name="asymmetric", clip=clip).of_tags(outputs, present.float())
    theirs = AsymmetricLossMultiLabel(gamma_neg=4, gamma_pos=1, clip=clip)(outputs, present.float())
    torch.testing.assert_close(ours.sum() / ROWS, theirs, rtol=1e-4, atol=1e-5)


def test_absent_tags_below_the_clip_teach_nothing() -> None:
    outputs = torch.full((1, 1), -4.0, requires_grad=True)
    LOSSES["asymmetric"](name="asymmetric").of_tags(outputs, torch.zeros(1, 1)).sum().backward()
    assert outputs.grad is not None and outputs.grad.item() == 0


def test_ordered_classes_cost_the_negative_log_of_their_probability() -> None:
    head = head_of(TASKS[1])
    outputs, labels = rows_of(TASKS[1], head)
    more = outputs.sigmoid()
    chain = [1 - more[:, 0], more[:, 0] * (1 - more[:, 1]), more[:, 0] * more[:, 1] * (1 - more[:, 2])]
    expected = torch.stack([*chain, more.prod(1)], 1)
    torch.testing.assert_close(head.probabilities(outputs), expected)
    right = expected[torch.arange(ROWS), labels]
    torch.testing.assert_close(head.loss(outputs, labels), -right.log().mean())


@pytest.mark.parametrize("task", [TASKS[2], TASKS[3]], ids=lambda task: task.kind)
def test_smoothed_labels_want_less_than_certainty(task: Task) -> None:
    """Where the probabilities are just the smoothed labels, nothing pulls at the outputs."""
    head = head_of(task, smoothing=0.2)
    labels = rows_of(task, head)[1]
    columns = torch.from_numpy(task.columns(labels.numpy())).float()
    sizes = torch.tensor([2.0] * 3 if task.kind == "tags" else [2.0] * 2 + [4.0] * 4)
    wanted = columns * 0.8 + 0.2 / sizes
    outputs = (torch.logit(wanted) if task.kind == "tags" else wanted.log()).requires_grad_()
    head.loss(outputs, labels).backward()
    assert outputs.grad is not None and outputs.grad.abs().max() < 1e-6


def test_mixing_losses_of_tags_is_mixing_the_tags() -> None:
    """What mixup does: cross-entropy is linear in what is there."""
    head = head_of(TASKS[2])
    outputs, present = rows_of(TASKS[2], head)
    other = present.flip(0)
    mixed = 0.7 * head.loss(outputs, present) + 0.3 * head.loss(outputs, other)
    expected = functional.binary_cross_entropy_with_logits(outputs, 0.7 * present + 0.3 * other)
    torch.testing.assert_close(mixed, expected)
