"""models.grad_checkpointing: backbones that can, and a line for those that cannot."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from softvote.errors import UserError
from softvote.models import create_model
from softvote.models.grad_checkpointing import enable_grad_checkpointing, keep_statistics


@pytest.mark.parametrize("name", ["cnn", "dla34"])
def test_a_network_that_cannot_says_so(name: str) -> None:
    model = create_model(name, 10, 1, (64, 64))
    with pytest.raises(
        UserError, match=f"^grad_checkpointing: {name} cannot .*; leave it out and set micro_batch$"
    ):
        enable_grad_checkpointing(model, name)


def test_less_is_kept_for_the_backward_pass() -> None:
    from softvote.heads import create_head
    from softvote.heads.base import HeadSpec
    from softvote.inference.network import Network
    from softvote.scheduling.gpus import saved_bytes
    from softvote.task import Task

    model = create_model("test_vit", 10, 1, (160, 160))
    network = Network(model, create_head("softmax", HeadSpec(10)), Task(10))
    before = saved_bytes(network, (1, 160, 160))
    enable_grad_checkpointing(model, "test_vit")
    assert saved_bytes(network, (1, 160, 160)) < before / 2


def test_statistics_stay_for_as_long_as_they_are_to() -> None:
    norm, free = nn.BatchNorm2d(3, momentum=0.3), nn.BatchNorm2d(3, track_running_stats=False)
    model, images = nn.Sequential(norm, free), torch.rand(4, 3, 5, 5)
    before, expected = _state(norm), model(images)
    after = _state(norm)
    with keep_statistics(model, enabled=True):
        assert torch.equal(model(images), expected)
    assert all(torch.equal(value, after[name]) for name, value in norm.state_dict().items())
    assert not torch.equal(after["running_mean"], before["running_mean"]) and norm.momentum == 0.3
    with keep_statistics(model, enabled=False):
        model(images)
    assert int(norm.num_batches_tracked) == 2


def _state(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}
