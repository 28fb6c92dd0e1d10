"""softvote.networks: member, head and image size put together."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from projects import competition
from projects import pipeline as facts_of

from softvote.errors import UserError
from softvote.heads import create_head
from softvote.networks import count_parameters, create_network
from softvote.pipeline import Pipeline
from softvote.recipe import Member


def pipeline(members: dict[str, Any], **facts: Any) -> Pipeline:
    return Pipeline.model_validate(facts_of(competition=competition(**facts), members=members, defaults={}))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("classes", [2, 19])
def test_a_network_and_its_head_fit_images_and_classes(channels: int, classes: int) -> None:
    member = Member(model="cnn", label_smoothing=0.5)
    network, head = create_network(member, classes, (channels, 12, 20))
    outputs = network(torch.rand(2, channels, 12, 20))
    assert outputs.shape == (2, head.num_outputs) and head.probabilities(outputs).shape == (2, classes)
    labels = torch.tensor([0, 1])
    torch.testing.assert_close(
        head.loss(outputs, labels), create_head("softmax", classes, 0.5).loss(outputs, labels)
    )


def test_arguments_of_the_member_arrive() -> None:
    member = Member(model="resnet18", model_args={"drop_rate": 0.25})
    network: Any = create_network(member, 10, (1, 32, 32))[0]
    assert network.drop_rate == 0.25


def test_prediction_asks_for_no_published_weights() -> None:
    """They come from the fold's folder; a member of ours that asks for some cannot be trained at all."""
    member = Member(model="cnn", model_args={"pretrained": True})
    create_network(member, 10, (1, 8, 8), with_weights=False)
    with pytest.raises(UserError, match="has no pretrained weights"):
        create_network(member, 10, (1, 8, 8))
    assert member.model_args == {"pretrained": True}


def test_parameters_are_counted_by_member() -> None:
    found = pipeline({"a": {"model": "basic_cnn"}, "b": {"model": "cnn"}}, image={"height": 28, "width": 28})
    assert count_parameters(found, ["a", "b"], with_weights=False) == {"a": 44_426, "b": 871_530}
    assert count_parameters(found, ["b"], with_weights=True) == {"b": 871_530}


def test_every_network_that_cannot_be_built_is_named() -> None:
    members = {"a": {"model": "ccn"}, "b": {"model": "cnn"}, "c": {"model": "stn_cnn"}}
    with pytest.raises(UserError) as caught:
        count_parameters(pipeline(members), ["a", "b", "c"], with_weights=True)
    first, second = str(caught.value).splitlines()
    assert first.startswith("members.a: model 'ccn': did you mean 'cnn'?")
    assert second.startswith("members.c: model stn_cnn: images of 8 x 8 are too small")
