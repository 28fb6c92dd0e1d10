"""softvote.heads: every head has a loss and gives probabilities."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from softvote.heads import HEADS, create_head

heads = pytest.mark.parametrize("name", HEADS)


def outputs_of(num_outputs: int, rows: int = 50, scale: float = 3.0) -> Tensor:
    return torch.randn(rows, num_outputs, generator=torch.Generator().manual_seed(0)) * scale


@heads
@pytest.mark.parametrize("classes", [2, 10, 37])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_probabilities_are_float32_rows_that_sum_to_one(name: str, classes: int, dtype: torch.dtype) -> None:
    head = create_head(name, classes)
    found = head.probabilities(outputs_of(head.num_outputs).to(dtype))
    assert found.shape == (50, classes) and found.dtype == torch.float32
    assert (found >= 0).all()
    torch.testing.assert_close(found.sum(1), torch.ones(50), rtol=0, atol=1e-5)


@heads
@pytest.mark.parametrize("scale", [0.0, 1e4])
def test_extreme_outputs_stay_probabilities(name: str, scale: float) -> None:
    head = create_head(name, 10)
    found = head.probabilities(outputs_of(head.num_outputs, scale=scale))
    assert found.isfinite().all()
    torch.testing.assert_close(found.sum(1), torch.ones(50), rtol=0, atol=1e-5)


@heads
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_can_be_descended_to_the_labels(name: str, smoothing: float) -> None:
    head = create_head(name, 10, smoothing)
    outputs, labels = outputs_of(head.num_outputs).requires_grad_(), torch.arange(50) % 10
    first = head.loss(outputs, labels)
    assert first.shape == () and first.dtype == torch.float32
    for _ in range(300):
        loss = head.loss(outputs, labels)
        (gradient,) = torch.autograd.grad(loss, outputs)
        outputs = (outputs - 20 * gradient).detach().requires_grad_()
    assert loss < first / 2
    assert (head.probabilities(outputs.detach()).argmax(1) == labels).all()


@heads
def test_the_loss_is_a_mean_over_rows(name: str) -> None:
    head = create_head(name, 10)
    outputs, labels = outputs_of(head.num_outputs), torch.arange(50) % 10
    each = torch.stack([head.loss(outputs[i : i + 1], labels[i : i + 1]) for i in range(50)])
    torch.testing.assert_close(head.loss(outputs, labels), each.mean())


def test_softmax_is_cross_entropy_in_nats() -> None:
    head = create_head("softmax", 4)
    assert head.loss(torch.zeros(3, 4), torch.tensor([0, 1, 2])).item() == pytest.approx(math.log(4))
    outputs, labels = outputs_of(4), torch.arange(50) % 4
    chosen = head.probabilities(outputs)[torch.arange(50), labels]
    torch.testing.assert_close(head.loss(outputs, labels), -chosen.log().mean())


def test_label_smoothing_spreads_its_share_evenly() -> None:
    outputs, labels = outputs_of(4), torch.arange(50) % 4
    logs = torch.log_softmax(outputs, 1)
    expected = -(0.8 * logs[torch.arange(50), labels] + 0.2 * logs.mean(1)).mean()
    torch.testing.assert_close(create_head("softmax", 4, 0.2).loss(outputs, labels), expected)
