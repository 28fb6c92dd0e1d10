"""What the networks share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from softvote.models.layers import Flatten, FusedSequential, add_relu
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


# ---------------------------------------------------------------- neighbours that go in one


@pytest.fixture
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def norm() -> nn.BatchNorm2d:
    layer = nn.BatchNorm2d(32)
    with torch.no_grad():
        layer.weight.copy_(torch.linspace(-1, 2, 32))
    return layer


def steps(result: Tensor) -> list[str]:
    """What made the result of the features, the last first."""
    found, step = list[str](), result.grad_fn
    while step is not None and not step.name().endswith("AccumulateGrad"):
        found.append(step.name().removesuffix("Backward0").removesuffix("Backward"))
        step = step.next_functions[0][0] if step.next_functions else None
    return found


OURS = "_NormPoolReLU"


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    ("layers", "made_by"),
    [
        ([norm(), nn.ReLU()], [OURS]),
        ([norm(), nn.MaxPool2d(2), nn.ReLU()], [OURS]),
        ([norm(), nn.Identity(), nn.ReLU(), nn.Hardtanh()], ["Hardtanh", OURS]),
        ([nn.MaxPool2d(2), nn.ReLU(), norm(), nn.ReLU()], [OURS, OURS]),
        ([nn.ReLU(), norm(), nn.MaxPool2d(2)], ["MaxPool2DWithIndices", "NativeBatchNorm", "Relu"]),
        ([norm(), nn.MaxPool2d(3), nn.ReLU()], ["Relu", "MaxPool2DWithIndices", "NativeBatchNorm"]),
        ([norm(), nn.ReLU(), nn.MaxPool2d(2)], ["MaxPool2DWithIndices", OURS]),
        ([norm(), nn.Hardtanh()], ["Hardtanh", "NativeBatchNorm"]),
    ],
)
def test_neighbours_go_in_one_and_give_the_same(layers: list[nn.Module], made_by: list[str]) -> None:
    features = torch.randn(4, 32, 12, 6, generator=torch.Generator().manual_seed(0))
    features = features.to(memory_format=torch.channels_last).requires_grad_()
    found = FusedSequential(*layers)(features)
    assert steps(found) == made_by
    torch.testing.assert_close(found, nn.Sequential(*layers)(features), rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("one_thread")
def test_few_channels_are_pooled_by_pytorch() -> None:
    features = torch.randn(4, 10, 12, 6).to(memory_format=torch.channels_last).requires_grad_()
    assert steps(FusedSequential(nn.MaxPool2d(2), nn.ReLU())(features)) == ["Relu", "MaxPool2DWithIndices"]


@pytest.mark.usefixtures("one_thread")
def test_a_shortcut_is_added_before_relu() -> None:
    features, shortcut = torch.randn(2, 4, 32, 8, 6).unbind(0)
    features = features.to(memory_format=torch.channels_last).requires_grad_()
    layer = norm()
    found = add_relu(features, layer, shortcut)
    assert steps(found) == [OURS]
    torch.testing.assert_close(found, functional.relu(layer(features) + shortcut), rtol=1e-4, atol=1e-5)
