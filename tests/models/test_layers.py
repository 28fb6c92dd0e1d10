"""What the networks share."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from softvote.models.layers import Flatten
from softvote.models.resnet5 import resnet5


@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
def test_flatten_hands_the_gradient_back_as_the_features_lie(memory_format: torch.memory_format) -> None:
    torch.manual_seed(0)
    features = torch.randn(5, 3, 4, 2).to(memory_format=memory_format).requires_grad_()
    given = list[torch.Tensor]()
    features.register_hook(given.append)
    weights = torch.randn(5, 24)
    flat = Flatten()(features * 1)
    (flat * weights).sum().backward()
    assert torch.equal(flat, nn.Flatten()(features))
    assert given[0].is_contiguous(memory_format=memory_format)
    assert torch.equal(given[0], weights.view(5, 3, 4, 2))


def test_resnet5_gets_its_gradient_as_its_features_lie() -> None:
    """Its last ReLU took eight times as long otherwise."""
    network = resnet5().to(memory_format=torch.channels_last)
    features = network.features[:-1](torch.randn(2, 1, 28, 28).to(memory_format=torch.channels_last))
    given = list[torch.Tensor]()
    features.grad_fn.register_prehook(lambda gradients: given.extend(gradients))
    network.classifier(network.features[-1](features)).sum().backward()
    assert given[0].is_contiguous(memory_format=torch.channels_last)
