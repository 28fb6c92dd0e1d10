"""softvote.training.optim: every optimizer with every schedule, and where the learning rate goes."""

from __future__ import annotations

import math
from typing import Any, get_args

import pytest
import timm
import torch
from pydantic import TypeAdapter
from timm.optim import param_groups_layer_decay
from torch import nn
from torch.optim import SGD, Adam, AdamW

from softvote.config import recipe
from softvote.training.optim import LearningRate, create_optimizer
from softvote.training.schedules.cosine import Cosine
from softvote.training.schedules.one_cycle import OneCycle


def kinds(union: Any) -> list[type[Any]]:
    return list(get_args(get_args(union)[0]))


def spec_of(kind: type[Any], **facts: Any) -> Any:
    return kind(name=get_args(kind.model_fields["name"].annotation)[0], **facts)


OPTIMIZERS = {spec_of(kind).name: spec_of(kind) for kind in kinds(recipe.Optimizer)}
SCHEDULES = {spec_of(kind).name: spec_of(kind) for kind in kinds(recipe.Schedule)}

every_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
every_schedule = pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)


def read(union: Any, **facts: Any) -> Any:
    return TypeAdapter(union).validate_python(facts)


def line() -> Any:
    torch.manual_seed(0)
    return nn.Linear(4, 1)


def rates(schedule: Any, steps: int, optimizer: Any = OPTIMIZERS["adamw"]) -> list[float]:
    """The learning rate of every step."""
    torch_optimizer = create_optimizer(optimizer, line(), "cpu")
    rate, found = LearningRate(schedule, torch_optimizer, steps), []
    for _ in range(steps):
        found.append(rate.now)
        torch_optimizer.step()
        rate.end_step()
    return found


@every_optimizer
@every_schedule
def test_every_pair_lowers_a_loss(optimizer: Any, schedule: Any) -> None:
    network, inputs = line(), torch.randn(64, 4, generator=torch.Generator().manual_seed(1))
    truth = inputs.sum(1, keepdim=True)
    torch_optimizer = create_optimizer(optimizer.model_copy(update={"lr": 0.05}), network, "cpu")
    rate, losses = LearningRate(schedule, torch_optimizer, 60), []
    for _ in range(60):
        loss = (network(inputs) - truth).square().mean()
        torch_optimizer.zero_grad()
        loss.backward()
        torch_optimizer.step()
        rate.end_step()
        rate.end_epoch(loss.item())
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 3


@every_optimizer
@every_schedule
@pytest.mark.parametrize("steps", [*range(1, 12), 24, 99])
def test_a_training_of_few_steps(optimizer: Any, schedule: Any, steps: int) -> None:
    found = rates(schedule, steps, optimizer)
    assert all(0 < rate <= optimizer.lr * (1 + 1e-9) for rate in found[:-1]) and math.isfinite(found[-1])


@pytest.mark.parametrize("warmup", [0.05, 0.1, 0.2, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 9, 10, 19, 20])
def test_one_cycle_of_few_steps_and_any_warmup(warmup: float, steps: int) -> None:
    assert len(rates(OneCycle(name="one_cycle", warmup=warmup), steps)) == steps


# ---------------------------------------------------------------- optimizers


@pytest.mark.parametrize(("name", "kind"), [("sgd", SGD), ("adam", Adam), ("adamw", AdamW)])
def test_the_kind_is_the_one_named(name: str, kind: type[Any]) -> None:
    assert type(create_optimizer(OPTIMIZERS[name], line(), "cpu")) is kind


def test_every_fact_of_sgd_arrives() -> None:
    spec = read(recipe.Optimizer, name="sgd", lr=0.3, momentum=0.7, nesterov=False, weight_decay=0.02)
    group = create_optimizer(spec, line(), "cpu").param_groups[0]
    found = {key: group[key] for key in ("lr", "momentum", "nesterov", "weight_decay")}
    assert found == {"lr": 0.3, "momentum": 0.7, "nesterov": False, "weight_decay": 0.02}


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_every_fact_of_adam_arrives(name: str) -> None:
    spec = read(recipe.Optimizer, name=name, lr=0.3, betas=[0.5, 0.6], weight_decay=0.02)
    group = create_optimizer(spec, line(), "cpu").param_groups[0]
    assert (group["lr"], tuple(group["betas"]), group["weight_decay"]) == (0.3, (0.5, 0.6), 0.02)


def test_sgd_without_momentum_is_the_plain_step() -> None:
    network = line()
    before = network.weight.detach().clone()
    spec = read(recipe.Optimizer, name="sgd", lr=0.5, momentum=0.0, nesterov=False)
    optimizer = create_optimizer(spec, network, "cpu")
    for _ in range(2):
        network.weight.grad = torch.ones_like(network.weight)
        optimizer.step()
    torch.testing.assert_close(network.weight.detach(), before - 2 * 0.5)


def test_one_cycle_leaves_sgd_without_momentum_without_it() -> None:
    spec = read(recipe.Optimizer, name="sgd", lr=0.5, momentum=0.0, nesterov=False)
    optimizer = create_optimizer(spec, line(), "cpu")
    rate = LearningRate(SCHEDULES["one_cycle"], optimizer, 20)
    for _ in range(20):
        optimizer.step()
        rate.end_step()
        assert optimizer.param_groups[0]["momentum"] == 0


# ---------------------------------------------------------------- schedules


@every_optimizer
def test_constant_stays(optimizer: Any) -> None:
    assert rates(SCHEDULES["constant"], 10, optimizer) == [optimizer.lr] * 10


@every_optimizer
def test_one_cycle_peaks_at_the_learning_rate(optimizer: Any) -> None:
    found = rates(OneCycle(name="one_cycle", warmup=0.3), 200, optimizer)
    peak = found.index(max(found))
    assert max(found) == pytest.approx(optimizer.lr, rel=1e-3)
    assert abs(peak - 0.3 * 200) <= 2
    assert found[0] == pytest.approx(optimizer.lr / 25)
    assert found[-1] < optimizer.lr / 1000
    assert found[: peak + 1] == sorted(found[: peak + 1]) and found[peak:] == sorted(
        found[peak:], reverse=True
    )


@pytest.mark.parametrize("warmup", [0.0, 0.25])
@pytest.mark.parametrize("final", [0.0, 0.1])
def test_cosine_ends(warmup: float, final: float) -> None:
    share = Cosine(name="cosine", warmup=warmup, final=final).proportions(100)
    top = round(warmup * 100)
    assert share(top) == 1
    assert share(100) == pytest.approx(final)
    assert share(1000) == pytest.approx(final)
    assert share(top + (100 - top) // 2) == pytest.approx((1 + final) / 2, abs=0.02)
    warming = [share(step) for step in range(top + 1)]
    assert warming == sorted(warming) and warming[0] == pytest.approx(1 / (top + 1))


def test_cosine_moves_the_rate_by_its_share() -> None:
    spec = Cosine(name="cosine", warmup=0.1, final=0.2)
    share = spec.proportions(30)
    expected = [OPTIMIZERS["adamw"].lr * share(step) for step in range(30)]
    assert rates(spec, 30) == pytest.approx(expected)


def rates_of(losses: list[float], **facts: Any) -> list[float]:
    """The learning rate after each of these epochs."""
    optimizer = create_optimizer(read(recipe.Optimizer, name="sgd", lr=1.0), line(), "cpu")
    rate, found = LearningRate(read(recipe.Schedule, name="plateau", **facts), optimizer, 100), []
    for loss in losses:
        rate.end_step()
        rate.end_epoch(loss)
        found.append(rate.now)
    return found


def test_plateau_keeps_the_rate_while_the_loss_falls() -> None:
    assert rates_of([1 / epoch for epoch in range(1, 20)], factor=0.5, patience=0) == [1.0] * 19


@pytest.mark.parametrize("patience", [0, 1, 3])
def test_plateau_lowers_the_rate_when_the_loss_stalls(patience: int) -> None:
    found = rates_of([1.0] * (2 * patience + 3), factor=0.5, patience=patience)
    kept, halved = patience + 1, patience + 1
    assert found == [1.0] * kept + [0.5] * halved + [0.25]


@pytest.mark.parametrize("name", ["constant", "cosine", "one_cycle"])
def test_only_a_plateau_watches_the_loss(name: str) -> None:
    optimizer = create_optimizer(OPTIMIZERS["adam"], line(), "cpu")
    rate = LearningRate(SCHEDULES[name], optimizer, 100)
    before = rate.now
    for _ in range(20):
        rate.end_epoch(1.0)
    assert rate.now == before


BACKBONES = ["test_resnet", "test_efficientnet", "test_vit", "test_convnext"]


@every_optimizer
@pytest.mark.parametrize("decay_norms", [True, False])
@pytest.mark.parametrize("name", BACKBONES)
def test_layers_are_grouped_as_timm_does(name: str, decay_norms: bool, optimizer: Any) -> None:
    network = timm.create_model(name)
    spec = optimizer.model_copy(update={"weight_decay": 0.3})
    found = create_optimizer(spec, network, "cpu", 0.7, decay_norms)
    theirs = AdamW(
        param_groups_layer_decay(
            network,
            0.3,
            no_weight_decay_list=set() if decay_norms else getattr(network, "no_weight_decay", set)(),
            weight_decay_exclude_1d=not decay_norms,
            layer_decay=0.7,
        )
    )
    assert len(found.param_groups) == len(theirs.param_groups) > 2
    for ours, group in zip(found.param_groups, theirs.param_groups, strict=True):
        assert ours["lr"] == pytest.approx(spec.lr * group["lr_scale"])
        assert ours["weight_decay"] == group["weight_decay"]
        assert [id(p) for p in ours["params"]] == [id(p) for p in group["params"]]
    classifier = [id(p) for p in network.get_classifier().parameters()]
    highest = [group for group in found.param_groups if group["lr"] == pytest.approx(spec.lr)]
    assert set(classifier) <= {id(p) for group in highest for p in group["params"]}


def test_norms_and_biases_are_spared_without_layers(caplog: pytest.LogCaptureFixture) -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    spec = OPTIMIZERS["adamw"]
    decays = {
        id(parameter): group["weight_decay"]
        for group in create_optimizer(spec, network, "cpu", decay_norms=False).param_groups
        for parameter in group["params"]
    }
    found = {name: decays[id(parameter)] for name, parameter in network.named_parameters()}
    assert found == {"0.weight": spec.weight_decay, "0.bias": 0.0, "1.weight": 0.0, "1.bias": 0.0}
    assert not caplog.records, "nobody asked for a decay by layers, so that none can fail"
    create_optimizer(spec, network, "cpu", layer_decay=0.5)
    assert "has no effect" in caplog.text


@every_schedule
def test_a_schedule_keeps_the_proportions_of_layers(schedule: Any) -> None:
    network = timm.create_model("test_resnet")
    optimizer = create_optimizer(OPTIMIZERS["sgd"], network, "cpu", layer_decay=0.5)
    rate = LearningRate(schedule, optimizer, 6)
    before = [group["lr"] / rate.now for group in optimizer.param_groups]
    assert min(before) < 0.2 and max(before) == 1
    for _ in range(5):
        optimizer.step()
        rate.end_step()
        assert [group["lr"] / rate.now for group in optimizer.param_groups] == pytest.approx(before)


def test_one_rate_is_one_group() -> None:
    assert (
        len(create_optimizer(OPTIMIZERS["adamw"], timm.create_model("test_resnet"), "cpu").param_groups) == 1
    )
