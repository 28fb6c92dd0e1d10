"""softvote.inference.network: member, head and image size put together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from kinds import HEADS_OF_CLASSES
from projects import competition
from projects import pipeline as facts_of
from torch import Tensor, nn

from softvote.config.pipeline import Pipeline
from softvote.config.recipe import Member
from softvote.errors import UserError
from softvote.heads import create_head
from softvote.heads.base import HeadSpec
from softvote.inference.network import Network, build_networks, create_network
from softvote.models import count_parameters
from softvote.task import Task


def pipeline(members: dict[str, Any], **facts: Any) -> Pipeline:
    return Pipeline.model_validate(facts_of(competition=competition(**facts), members=members, defaults={}))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("classes", [2, 19])
def test_a_network_and_its_head_fit_images_and_classes(channels: int, classes: int) -> None:
    member = Member(model="cnn", label_smoothing=0.5)
    network = create_network(member, Task(classes), (channels, 12, 20))
    outputs = network.outputs(torch.rand(2, channels, 12, 20), None)
    assert outputs.shape == (2, network.head.num_outputs)
    assert network.probabilities(outputs, None).shape == (2, classes)
    labels, smooth = torch.tensor([0, 1]), create_head("softmax", HeadSpec(classes, label_smoothing=0.5))
    torch.testing.assert_close(network.head.loss(outputs, labels), smooth.loss(outputs, labels))


def test_arguments_of_the_member_arrive() -> None:
    member = Member(model="resnet18", model_args={"drop_rate": 0.25})
    model: Any = create_network(member, Task(10), (1, 32, 32)).model
    assert model.drop_rate == 0.25


def test_prediction_asks_for_no_published_weights() -> None:
    """They come from the fold's folder; a member of ours that asks for some cannot be trained at all."""
    member = Member(model="cnn", model_args={"pretrained": True})
    create_network(member, Task(10), (1, 8, 8), with_weights=False)
    with pytest.raises(UserError, match="has no pretrained weights"):
        create_network(member, Task(10), (1, 8, 8))
    assert member.model_args == {"pretrained": True}


def test_networks_are_built_by_member() -> None:
    found = pipeline({"a": {"model": "basic_cnn"}, "b": {"model": "cnn"}}, image={"height": 28, "width": 28})
    for names, with_weights in ((["a", "b"], False), (["b"], True)):
        networks = build_networks(found, names, with_weights)
        counts = {"a": 44_426, "b": 871_530}
        assert list(networks) == names
        assert all(count_parameters(networks[name].model) == counts[name] for name in names)


def test_networks_are_frozen_as_they_will_learn() -> None:
    members = {"a": {"model": "cnn"}, "b": {"model": "cnn", "init_from": "a", "freeze": True}}
    networks = build_networks(pipeline(members), ["a", "b"], with_weights=False)
    model: Any = networks["b"].model
    assert count_parameters(model) == count_parameters(model.classifier)
    assert count_parameters(networks["a"].model) > count_parameters(model)


def test_freezing_what_has_no_classifier_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("softvote.models.classifier_prefixes", lambda model: ())
    members = {"a": {"model": "cnn"}, "b": {"model": "cnn", "init_from": "a", "freeze": True}}
    with pytest.raises(UserError, match=r"^members\.b: freeze: leaves nothing to learn; leave it out$"):
        build_networks(pipeline(members), ["a", "b"], with_weights=False)


def test_every_network_that_cannot_be_built_is_named() -> None:
    members = {"a": {"model": "ccn"}, "b": {"model": "cnn"}, "c": {"model": "stn_cnn"}}
    with pytest.raises(UserError) as caught:
        build_networks(pipeline(members), ["a", "b", "c"], with_weights=True)
    first, second = str(caught.value).splitlines()
    assert first.startswith("members.a: model 'ccn': did you mean 'cnn'?")
    assert second.startswith("members.c: model stn_cnn: images of 8 x 8 are too small")


# ---------------------------------------------------------------- addends


class Sum(nn.Module):
    """A network that takes an addend, and notes what it was given."""

    takes_addend = True

    def forward(self, images: Tensor, addends: Tensor) -> Tensor:
        self.given = addends
        return torch.zeros(len(images), 19)


@pytest.mark.parametrize("name", HEADS_OF_CLASSES)
@pytest.mark.parametrize("hidden_digits", [1, 2, 4])
@pytest.mark.parametrize("addend", range(10))
def test_an_addend_moves_every_value_up_and_none_around(name: str, hidden_digits: int, addend: int) -> None:
    """The label's distribution is that of the value, convolved with the addend's."""
    values = 9 * hidden_digits + 1
    head = create_head(name, HeadSpec(values, hidden_digits))
    network = Network(nn.Identity(), head, Task(values + 9, hidden_digits, addend=True))
    outputs = torch.randn(7, head.num_outputs, generator=torch.Generator().manual_seed(addend)) * 2
    of_values = head.probabilities(outputs)
    found = network.probabilities(outputs, torch.full((7,), addend)).numpy()
    one_hot = np.eye(10, dtype=np.float32)[addend]
    expected = np.stack([np.convolve(row, one_hot) for row in of_values.numpy()])
    assert found.shape == (7, values + 9)
    np.testing.assert_array_equal(found, expected)
    assert not found[:, :addend].any() and not found[:, addend + values :].any()


def test_every_row_has_its_own_addend() -> None:
    network = Network(nn.Identity(), create_head("softmax", HeadSpec(10, 1)), Task(19, 1, addend=True))
    sure = 1e4 * torch.eye(10)[torch.tensor([0, 9, 9, 3])]
    found = network.probabilities(sure, torch.tensor([0, 9, 0, 4]))
    torch.testing.assert_close(found, torch.eye(19)[torch.tensor([0, 18, 9, 7])])


def test_without_addends_probabilities_are_those_of_the_head() -> None:
    network = Network(nn.Identity(), create_head("softmax", HeadSpec(19, 2)), Task(19, 2))
    outputs = torch.randn(5, 19)
    assert torch.equal(network.probabilities(outputs, None), network.head.probabilities(outputs))


def test_a_network_that_takes_the_addend_names_the_label_itself() -> None:
    network = Network(Sum(), create_head("softmax", HeadSpec(19, 1)), Task(19, 1, addend=True))
    addends, outputs = torch.tensor([3, 9]), torch.randn(2, 19)
    assert network.takes_addend
    network.outputs(torch.rand(2, 1, 8, 8), addends)
    assert network.model.given is addends
    assert torch.equal(network.probabilities(outputs, addends), network.head.probabilities(outputs))


def test_any_other_network_sees_the_image_alone() -> None:
    network = create_network(Member(model="cnn"), Task(19, 1, addend=True), (1, 8, 8))
    assert not network.takes_addend and network.head.num_outputs == 10
    model, images = network.model.eval(), torch.rand(3, 1, 8, 8)
    with torch.no_grad():
        assert torch.equal(network.outputs(images, torch.tensor([1, 2, 3])), model(images))


WIDTHS = {"softmax": (10, 37), "regression": (1, 1), "digits": (10, 40), "digit_set": (10, 10)}


@pytest.mark.parametrize("name", WIDTHS)
def test_every_head_goes_with_every_task_of_digits(name: str) -> None:
    for task, width in zip((Task(19, 1, addend=True), Task(37, 4)), WIDTHS[name], strict=True):
        network = create_network(Member(model="cnn", head=name), task, (1, 8, 16))
        addends = torch.tensor([0, 9]) if task.addend else None
        with torch.no_grad():
            outputs = network.outputs(torch.rand(2, 1, 8, 16), addends)
        assert outputs.shape == (2, width)
        assert network.probabilities(outputs, addends).shape == (2, task.num_classes)


ADDER = {"model": "adder_net"}
SQUARE = {"height": 28, "width": 28}


def test_a_network_that_takes_addends_has_an_output_for_every_label() -> None:
    network = create_network(Member(**ADDER), Task(19, 1, addend=True), (1, 28, 28))
    assert network.takes_addend and network.head.num_outputs == 19


def test_members_that_do_not_fit_the_task_are_named() -> None:
    with_digits = {"one": ADDER | {"head": "digits"}, "two": ADDER | {"head": "digit_set"}}
    plain = pipeline({"one": ADDER}, image=SQUARE)
    sums = pipeline(with_digits, image=SQUARE, labels={"first": 0, "last": 18}, hidden_digits=1, addend=True)
    with pytest.raises(UserError) as caught:
        build_networks(plain, ["one"], with_weights=True)
    assert str(caught.value) == (
        "members.one: model adder_net: needs an addend with each image, and the competition has none; "
        "choose another"
    )
    with pytest.raises(UserError) as caught:
        build_networks(sums, ["one", "two"], with_weights=True)
    for line, name, head in zip(
        str(caught.value).splitlines(), with_digits, ("digits", "digit_set"), strict=True
    ):
        assert line.startswith(f"members.{name}: model adder_net: adds the addend itself, so head: {head}")
        assert line.endswith("use softmax or regression")


def test_what_a_head_measured_is_used() -> None:
    member, outputs = Member(model="cnn", head="regression"), torch.zeros(1, 1)
    wide, narrow = (
        create_network(member, Task(11), (1, 8, 8), calibration={"width": width}).probabilities(outputs, None)
        for width in (5.0, 0.1)
    )
    assert narrow[0, 5] > 0.99 and wide[0, 5] < 0.2
