"""softvote.compute.autotune: what was asked for runs, and a probe leaves no trace in the network."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from softvote.compute import autotune
from softvote.compute.autotune import choose_compute_config
from softvote.compute.device import find_device, to_device
from softvote.compute.precision import ComputeConfig
from softvote.models import create_model
from softvote.storage import cache
from softvote.storage.cache import disk_cache

SHAPE = (8, 1, 12, 12)
CNN = {"model": "cnn"}
CHOICES = [(p, m) for p in ("fp32", "bf16") for m in ("contiguous", "channels_last")]


@pytest.fixture(autouse=True)
def no_probe_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test starts as a new process would."""
    monkeypatch.setattr(cache, "_in_memory", {})


def network() -> nn.Module:
    torch.manual_seed(0)
    return create_model("cnn", 10, 1, (12, 12))


@pytest.mark.parametrize(("precision", "memory_format"), CHOICES)
def test_what_is_asked_for_runs_without_a_probe(
    precision: str, memory_format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(autotune, "_fastest", lambda *arguments: pytest.fail("probed"))
    chosen = choose_compute_config(network(), SHAPE, precision, memory_format, CNN)
    assert chosen == ComputeConfig(find_device(), precision, memory_format) and chosen.probe == {}


@pytest.mark.parametrize(
    ("precision", "memory_format"), [("auto", "auto"), ("fp32", "auto"), ("auto", "channels_last")]
)
def test_auto_tries_what_is_left_open_and_records_it(precision: str, memory_format: str) -> None:
    chosen = choose_compute_config(network(), SHAPE, precision, memory_format, CNN)
    tried = {tuple(name.split()) for name in chosen.probe}
    possible = {(p, m) for p, m in CHOICES if precision in (p, "auto") and memory_format in (m, "auto")}
    assert tried <= possible and {choice for choice in possible if choice[0] == "fp32"} <= tried
    assert (chosen.precision, chosen.memory_format) in tried
    assert all(speed > 0 for speed in chosen.probe.values())
    assert chosen.to_json()["probe"] == chosen.probe


def test_a_probe_leaves_the_network_as_it_was() -> None:
    """Weights, BatchNorm's statistics and counters to the last bit, no gradients, still in training."""
    probed, untouched = network(), network().state_dict()
    choose_compute_config(probed, SHAPE, "auto", "auto", CNN)
    after = probed.state_dict()
    assert any(name.endswith("running_mean") for name in after)
    assert all(torch.equal(after[name], untouched[name]) for name in untouched)
    assert all(parameter.grad is None for parameter in probed.parameters())
    assert probed.training


@pytest.fixture
def t4(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that knows bf16 from imitation only."""
    monkeypatch.setattr(autotune, "find_device", lambda: "cuda")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)


@pytest.mark.usefixtures("t4")
@pytest.mark.parametrize(("precision", "tried"), [("bf16", "fp16"), ("fp16", "fp16"), ("fp32", "fp32")])
def test_a_gpu_that_imitates_bf16_takes_fp16_for_it(precision: str, tried: str) -> None:
    chosen = choose_compute_config(network(), SHAPE, precision, "channels_last", CNN)
    assert chosen == ComputeConfig("cuda", tried, "channels_last")


@pytest.mark.usefixtures("t4")
def test_such_a_gpu_tries_fp16_beside_fp32() -> None:
    candidates = autotune._candidates("cuda", "auto", "channels_last")
    assert [candidate.precision for candidate in candidates] == ["fp32", "fp16"]


def test_a_gpu_with_bf16_takes_fp16_where_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    for precision, taken in [("auto", "bf16"), ("bf16", "bf16"), ("fp16", "fp16"), ("fp32", "fp32")]:
        (candidate,) = autotune._candidates("cuda", precision, "auto")
        assert candidate == ComputeConfig("cuda", taken, "channels_last")


def test_a_processor_tries_no_fp16_unless_it_is_told_to() -> None:
    assert {candidate.precision for candidate in autotune._candidates("cpu", "auto", "auto")} == {
        "fp32",
        "bf16",
    }
    chosen = choose_compute_config(network(), SHAPE, "fp16", "contiguous", CNN)
    assert chosen == ComputeConfig("cpu", "fp16", "contiguous")
    assert chosen.to_predict().precision == "fp32"


class Wavering(nn.Module):
    """Says another thing under autocast."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return -images if torch.is_autocast_enabled("cpu") else images


def speeds(monkeypatch: pytest.MonkeyPatch, seconds: dict[str, float]) -> list[str]:
    """Let the steps take these times; returns the list in which each probed step is noted."""
    noted: list[str] = []

    def take(model: nn.Module, images: torch.Tensor, candidate: ComputeConfig) -> float:
        noted.append(f"{candidate.precision} {candidate.memory_format}")
        return seconds[noted[-1]]

    monkeypatch.setattr(autotune, "_seconds_per_step", take)
    return noted


@pytest.mark.parametrize("fastest", [f"{p} {m}" for p, m in CHOICES])
def test_what_is_far_faster_is_taken(fastest: str, monkeypatch: pytest.MonkeyPatch) -> None:
    speeds(monkeypatch, {f"{p} {m}": 0.1 if f"{p} {m}" == fastest else 1.0 for p, m in CHOICES})
    chosen = choose_compute_config(network(), SHAPE, "auto", "auto", CNN)
    assert f"{chosen.precision} {chosen.memory_format}" == fastest
    assert chosen.probe[fastest] == pytest.approx(SHAPE[0] / 0.1)


def test_what_is_hopeless_and_slow_is_not_tried_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    for unit, least in ((1.0, 2), (0.01, 6)):
        noted = speeds(monkeypatch, {f"{p} {m}": unit * (1 if p == "fp32" else 9) for p, m in CHOICES})
        chosen = choose_compute_config(network(), (int(4 * unit) + 2, 1, 12, 12), "auto", "auto", CNN)
        assert chosen.precision == "fp32" and set(chosen.probe) == {f"{p} {m}" for p, m in CHOICES}
        assert [noted.count(f"{p} {m}") for p, m in CHOICES] == [
            6 if p == "fp32" else least for p, m in CHOICES
        ]
    monkeypatch.setattr(autotune, "_SLOW", 0.0)
    noted = speeds(monkeypatch, {f"{p} {m}": 1.0 for p, m in CHOICES})
    choose_compute_config(network(), (9, 1, 12, 12), "auto", "auto", CNN)
    assert len(noted) == 3 * len(CHOICES)


def test_a_little_faster_is_not_worth_less_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    speeds(monkeypatch, {f"{p} {m}": 1.0 if p == "fp32" else 0.9 for p, m in CHOICES})
    assert choose_compute_config(network(), SHAPE, "auto", "auto", CNN).precision == "fp32"


def test_a_network_that_bf16_changes_keeps_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    noted = speeds(monkeypatch, {f"{p} {m}": 1.0 if p == "fp32" else 0.1 for p, m in CHOICES})
    monkeypatch.setattr(autotune, "_TOLERANCE", 0.0)
    assert choose_compute_config(network(), SHAPE, "auto", "auto", CNN).precision == "fp32"
    assert {name.split()[0] for name in noted} == {"fp32"}


@pytest.mark.parametrize(("first", "precision"), [(nn.Identity(), "bf16"), (Wavering(), "fp32")])
def test_a_last_layer_of_zeros_hides_nothing(
    first: nn.Module, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    speeds(monkeypatch, {f"{p} {m}": 1.0 if p == "fp32" else 0.1 for p, m in CHOICES})
    last = nn.Linear(144, 10)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    model = nn.Sequential(first, nn.Flatten(), last)
    assert choose_compute_config(model, SHAPE, "auto", "auto", CNN).precision == precision
    assert not last.weight.any()


def test_equal_networks_share_a_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    noted = speeds(monkeypatch, {f"{p} {m}": 1.0 for p, m in CHOICES})
    first = choose_compute_config(network(), SHAPE, "auto", "auto", CNN)
    count = len(noted)
    assert choose_compute_config(network(), SHAPE, "auto", "auto", CNN) == first and len(noted) == count
    choose_compute_config(network(), (4, *SHAPE[1:]), "auto", "auto", CNN)
    choose_compute_config(network(), SHAPE, "auto", "auto", {"model": "other"})
    assert len(noted) == 3 * count


# ---------------------------------------------------------------- choices that are kept


def alternating(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let every probe find another precision the faster; returns the list of what each found."""
    found: list[str] = []

    def fastest(model: nn.Module, shape: object, candidates: list[ComputeConfig]) -> ComputeConfig:
        found.append(("bf16", "fp32")[len(found) % 2])
        return ComputeConfig(candidates[0].device, found[-1], "contiguous", {"fp32 contiguous": 1.5})

    monkeypatch.setattr(autotune, "_fastest", fastest)
    return found


def test_a_new_process_chooses_as_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the probe would end now."""
    found = alternating(monkeypatch)
    choose = partial(choose_compute_config, network(), SHAPE, "auto", "auto", CNN, disk_cache(tmp_path))
    first = choose()
    assert choose() == first and first.precision == "bf16" and len(found) == 1
    assert choose().probe == {"fp32 contiguous": 1.5}


def test_whatever_a_choice_depends_on_makes_it_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, cache = alternating(monkeypatch), disk_cache(tmp_path)

    def probes(shape: tuple[int, int, int, int] = SHAPE, outputs: int = 10, model: str = "cnn") -> int:
        before, network = len(found), create_model("cnn", outputs, 1, (12, 12))
        choose_compute_config(network, shape, "auto", "auto", {"model": model}, cache)
        return len(found) - before

    assert probes() == 1 and probes() == 0
    assert probes(shape=(16, *SHAPE[1:])) == 1
    assert probes(outputs=11) == 1
    assert probes(model="other") == 1
    choose_compute_config(network(), SHAPE, "auto", "contiguous", CNN, cache)
    assert len(found) == 5 and probes() == 0
    for name, other in (("processor", lambda: "another"), ("PROBE_VERSION", 0)):
        with monkeypatch.context() as patch:
            patch.setattr(autotune, name, other)
            assert probes() == 1
    with monkeypatch.context() as patch:
        patch.setattr(torch, "__version__", "9.9")
        assert probes() == 1
    with monkeypatch.context() as patch:
        patch.setattr(torch, "get_num_threads", lambda: 77)
        assert probes() == 1
    assert probes() == 0


def test_a_damaged_choice_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = alternating(monkeypatch)
    choose = partial(choose_compute_config, network(), SHAPE, "auto", "auto", CNN, disk_cache(tmp_path))
    choose()
    (path,) = tmp_path.glob("*.json")
    path.write_text(path.read_text().replace('"bf16"', '"bf17"'))
    assert choose().precision == "fp32" and len(found) == 2
    assert choose().precision == "fp32" and len(found) == 2


@pytest.mark.parametrize(("precision", "memory_format"), [*CHOICES, ("fp16", "channels_last")])
def test_a_step_runs_as_chosen(precision: str, memory_format: str) -> None:
    chosen = ComputeConfig("cpu", precision, memory_format)
    model = chosen.to_device(nn.Conv2d(3, 8, 3))
    images = chosen.to_memory_format(torch.rand(2, 3, 9, 9))
    last = memory_format == "channels_last"
    assert images.is_contiguous(memory_format=torch.channels_last) == last
    assert model.weight.is_contiguous(memory_format=torch.channels_last) == last
    with chosen.autocast():
        outputs = model(images)
    assert outputs.dtype == {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[precision]
    assert model.weight.dtype == torch.float32


def test_a_copy_to_cuda_starts_from_pinned_memory_and_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given, pinned, there = torch.zeros(1), torch.zeros(2), torch.zeros(3)
    sent: list[tuple[Tensor, torch.device, bool]] = []

    def to(this: Tensor, device: torch.device, non_blocking: bool = False) -> Tensor:
        sent.append((this, device, non_blocking))
        return there

    monkeypatch.setattr(Tensor, "pin_memory", lambda this: pinned if this is given else this)
    monkeypatch.setattr(Tensor, "to", to)
    assert to_device(given, torch.device("cuda", 1)) is there
    ((source, device, non_blocking),) = sent
    assert source is pinned and device == torch.device("cuda", 1) and non_blocking


def test_what_is_there_is_not_copied() -> None:
    tensor = torch.zeros(2)
    assert to_device(tensor, torch.device("cpu")) is tensor
