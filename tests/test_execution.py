"""softvote.execution: what was asked for runs, and a probe leaves no trace in the network."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from softvote import execution
from softvote.execution import Execution, choose_execution, find_device
from softvote.models import create_model

SHAPE = (8, 1, 12, 12)
CHOICES = [(p, m) for p in ("fp32", "bf16") for m in ("contiguous", "channels_last")]


@pytest.fixture(autouse=True)
def no_probe_before() -> Iterator[None]:
    """Each test starts as a new process would."""
    before = dict(execution._probed)
    execution._probed.clear()
    yield
    execution._probed.clear()
    execution._probed.update(before)


def network() -> nn.Module:
    torch.manual_seed(0)
    return create_model("cnn", 10, 1, (12, 12))


@pytest.mark.parametrize(("precision", "memory_format"), CHOICES)
def test_what_is_asked_for_runs_without_a_probe(
    precision: str, memory_format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "_fastest", lambda *arguments: pytest.fail("probed"))
    chosen = choose_execution(network(), SHAPE, precision, memory_format, "cnn")
    assert chosen == Execution(find_device(), precision, memory_format) and chosen.probe == {}


@pytest.mark.parametrize(
    ("precision", "memory_format"), [("auto", "auto"), ("fp32", "auto"), ("auto", "channels_last")]
)
def test_auto_tries_what_is_left_open_and_records_it(precision: str, memory_format: str) -> None:
    chosen = choose_execution(network(), SHAPE, precision, memory_format, "cnn")
    tried = {tuple(name.split()) for name in chosen.probe}
    possible = {(p, m) for p, m in CHOICES if precision in (p, "auto") and memory_format in (m, "auto")}
    assert tried <= possible and {choice for choice in possible if choice[0] == "fp32"} <= tried
    assert (chosen.precision, chosen.memory_format) in tried
    assert all(speed > 0 for speed in chosen.probe.values())
    assert chosen.facts()["probe"] == chosen.probe


def test_a_probe_leaves_the_network_as_it_was() -> None:
    """Weights, BatchNorm's statistics and counters to the last bit, no gradients, still in training."""
    probed, untouched = network(), network().state_dict()
    choose_execution(probed, SHAPE, "auto", "auto", "cnn")
    after = probed.state_dict()
    assert any(name.endswith("running_mean") for name in after)
    assert all(torch.equal(after[name], untouched[name]) for name in untouched)
    assert all(parameter.grad is None for parameter in probed.parameters())
    assert probed.training


def speeds(monkeypatch: pytest.MonkeyPatch, seconds: dict[str, float]) -> list[str]:
    """Let the steps take these times; returns the list in which each probed step is noted."""
    noted: list[str] = []

    def taken(model: nn.Module, images: torch.Tensor, candidate: Execution) -> float:
        noted.append(f"{candidate.precision} {candidate.memory_format}")
        return seconds[noted[-1]]

    monkeypatch.setattr(execution, "_seconds_a_step", taken)
    return noted


@pytest.mark.parametrize("fastest", [f"{p} {m}" for p, m in CHOICES])
def test_what_is_far_faster_is_taken(fastest: str, monkeypatch: pytest.MonkeyPatch) -> None:
    speeds(monkeypatch, {f"{p} {m}": 0.1 if f"{p} {m}" == fastest else 1.0 for p, m in CHOICES})
    chosen = choose_execution(network(), SHAPE, "auto", "auto", "cnn")
    assert f"{chosen.precision} {chosen.memory_format}" == fastest
    assert chosen.probe[fastest] == pytest.approx(SHAPE[0] / 0.1)


def test_a_little_faster_is_not_worth_less_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    speeds(monkeypatch, {f"{p} {m}": 1.0 if p == "fp32" else 0.9 for p, m in CHOICES})
    assert choose_execution(network(), SHAPE, "auto", "auto", "cnn").precision == "fp32"


def test_a_network_that_bf16_changes_keeps_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    noted = speeds(monkeypatch, {f"{p} {m}": 1.0 if p == "fp32" else 0.1 for p, m in CHOICES})
    monkeypatch.setattr(execution, "_TOLERANCE", 0.0)
    assert choose_execution(network(), SHAPE, "auto", "auto", "cnn").precision == "fp32"
    assert {name.split()[0] for name in noted} == {"fp32"}


def test_equal_networks_share_a_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    noted = speeds(monkeypatch, {f"{p} {m}": 1.0 for p, m in CHOICES})
    first = choose_execution(network(), SHAPE, "auto", "auto", "cnn")
    count = len(noted)
    assert choose_execution(network(), SHAPE, "auto", "auto", "cnn") is first and len(noted) == count
    choose_execution(network(), (4, *SHAPE[1:]), "auto", "auto", "cnn")
    choose_execution(network(), SHAPE, "auto", "auto", "other")
    assert len(noted) == 3 * count


@pytest.mark.parametrize(("precision", "memory_format"), CHOICES)
def test_a_step_runs_as_chosen(precision: str, memory_format: str) -> None:
    chosen = Execution("cpu", precision, memory_format)
    model = chosen.place(nn.Conv2d(3, 8, 3))
    images = chosen.lay_out(torch.rand(2, 3, 9, 9))
    last = memory_format == "channels_last"
    assert images.is_contiguous(memory_format=torch.channels_last) == last
    assert model.weight.is_contiguous(memory_format=torch.channels_last) == last
    with chosen.autocast():
        outputs = model(images)
    assert outputs.dtype == (torch.bfloat16 if precision == "bf16" else torch.float32)
    assert model.weight.dtype == torch.float32
