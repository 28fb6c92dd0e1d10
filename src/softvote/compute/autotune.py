"""The precision and memory format that are fastest for a network on this machine."""

from __future__ import annotations

import time

import torch
from torch import Tensor, nn

from softvote.compute.device import accelerator_name, find_device, synchronize
from softvote.compute.precision import ComputeConfig, imitates_bf16
from softvote.machine import processor
from softvote.storage.cache import Cache, JsonObject, memory_cache

PROBE_VERSION = 2
"""Bumped whenever equal speeds lead to another choice, or speeds change; older choices are not taken."""


_ROUNDS = 6  # each candidate takes one step per round; the first round is not timed


_SLOW, _FEW_ROUNDS = 10.0, 3  # seconds after which so many rounds do: long steps sway little


_HOPELESS, _PAUSE = 3.0, 0.5
"""A step that takes so many times as long as another's is not tried again, unless the difference may be a
pause of the machine, in seconds."""


_WORTH_IT = 1.25  # how much faster a less plain choice must be; less would change with the machine's mood


_SMALL = 0.01  # standard deviation of what stands in for weights of zero


_TOLERANCE = 0.05  # relative error of bf16 outputs above which fp32 stays


def choose_compute_config(
    model: nn.Module,
    shape: tuple[int, int, int, int],
    precision: str,
    memory_format: str,
    network: JsonObject,
    cache: Cache = memory_cache,
) -> ComputeConfig:
    """What the caller asked for; where it says auto, the fastest in a probe of a few steps.

    A GPU with bf16 instructions takes bf16 and channels_last without a probe; one without, such as a T4,
    takes fp16 wherever bf16 is meant.

    A choice less plain than another (bf16 or fp16 less than fp32, contiguous less than channels_last) must be
    a quarter faster. Other work on the machine can sway a probe all the same, and other precision means
    other bits; so a choice is made once and stands as long as all that it depends on.

    Args:
        model: the network; its weights are left as they are.
        shape: of a training batch, (B, C, H, W).
        precision: fp32, bf16, fp16 or auto.
        memory_format: contiguous, channels_last or auto.
        network: says which network it is.
        cache: keeps choices; if omitted, this process does.

    Raises:
        UserError: the choice cannot be kept.
    """
    device = find_device()
    candidates = _candidates(device, precision, memory_format)
    if len(candidates) == 1:
        return candidates[0]
    depends_on = machine_environment(device) | {
        "version": PROBE_VERSION,
        "network": network,
        "layers": layers(model),
        "batch": list(shape),
        "precision": precision,
        "memory_format": memory_format,
    }
    if any(candidate.precision == "fp16" for candidate in candidates):  # else as older choices were kept
        depends_on["half"] = "fp16"
    return ComputeConfig(**cache(depends_on, lambda: _fastest(model, shape, candidates).to_json()))


def _candidates(device: str, precision: str, memory_format: str) -> list[ComputeConfig]:
    """What a probe has to decide between, the plainest first; one where nothing is left open."""
    bf16_for_nothing = device == "cuda" and imitates_bf16()
    half = "fp16" if bf16_for_nothing or precision == "fp16" else "bf16"
    wanted = half if precision == "bf16" else precision
    allowed = [
        ComputeConfig(device, p, m)
        for p in ("fp32", half)
        for m in ("channels_last", "contiguous")
        if wanted in (p, "auto") and memory_format in (m, "auto")
    ]
    if device == "cuda" and not bf16_for_nothing:
        # What its matrix units were made for; a probe would cost each training more than it could gain.
        return [max(allowed, key=lambda c: (c.precision == half, c.memory_format == "channels_last"))]
    return allowed


def layers(model: nn.Module) -> list[list[int]]:
    """The shapes of a network's state; its source may change and its name stay."""
    return [list(value.shape) for value in model.state_dict().values()]


def machine_environment(device: str) -> JsonObject:
    """What the speed of a network depends on besides the network and its images."""
    return {
        "device": accelerator_name(device) or device,
        "processor": processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
    }


def _fastest(
    model: nn.Module, shape: tuple[int, int, int, int], candidates: list[ComputeConfig]
) -> ComputeConfig:
    state = {name: value.clone() for name, value in model.state_dict().items()}
    _fill_zeros(model)
    images = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(candidates[0].device)
    tried = [c for c in candidates if c.precision == "fp32" or _agrees_with_fp32(model, images, c)]
    speeds = {c: shape[0] / spent for c, spent in _least_seconds(model, images, tried).items()}
    model.load_state_dict(state)
    model.zero_grad(set_to_none=True)
    best = next(c for c in speeds if speeds[c] * _WORTH_IT >= max(speeds.values()))
    probe = {f"{c.precision} {c.memory_format}": round(speed, 1) for c, speed in speeds.items()}
    return ComputeConfig(best.device, best.precision, best.memory_format, probe)


def _least_seconds(
    model: nn.Module, images: Tensor, tried: list[ComputeConfig]
) -> dict[ComputeConfig, float]:
    """Of each, in their order: by turns, and the best, for what else the machine does must not decide."""
    least, began = dict[ComputeConfig, float](), time.perf_counter()
    for number in range(_ROUNDS):
        seconds = {c: _seconds_per_step(c.to_device(model), images, c) for c in tried}
        if number:
            least |= {c: min(spent, least.get(c, spent)) for c, spent in seconds.items()}
            tried = [c for c in tried if seconds[c] <= max(_PAUSE, _HOPELESS * min(seconds.values()))]
        if number + 1 >= _FEW_ROUNDS and time.perf_counter() - began >= _SLOW:
            break
    return least


def _agrees_with_fp32(model: nn.Module, images: Tensor, candidate: ComputeConfig) -> bool:
    model = candidate.to_device(model).eval()
    with torch.no_grad():
        reference = model(images)
        with candidate.autocast():
            outputs = model(candidate.to_memory_format(images)).float()
    model.train()
    error = torch.linalg.vector_norm(outputs - reference) / torch.linalg.vector_norm(reference)
    return bool(error < _TOLERANCE)


def _fill_zeros(model: nn.Module) -> None:
    """Small random weights where they are zero: a last layer of zeros would hide what bf16 does before it."""
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in model.parameters():
            if not weights.any():
                weights.copy_(torch.randn(weights.shape, generator=random) * _SMALL)


def _seconds_per_step(model: nn.Module, images: Tensor, candidate: ComputeConfig) -> float:
    synchronize(candidate.device)
    started = time.perf_counter()
    with candidate.autocast():
        outputs = model(candidate.to_memory_format(images))
    outputs.float().square().mean().backward()
    synchronize(candidate.device)
    return time.perf_counter() - started
