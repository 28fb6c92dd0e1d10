"""How a network runs on this machine: device, precision, memory format."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from softvote.kept import Facts, Findings, remembered
from softvote.machine import processor

PROBE_VERSION = 2
"""Raised whenever equal speeds lead to another choice, or speeds change; older choices are not taken."""

_ROUNDS = 6  # each candidate takes a step a round; the first round is not timed
_WORTH_IT = 1.25  # how much faster a less plain choice must be; less would change with the machine's mood
_SMALL = 0.01  # standard deviation of what stands in for weights of zero
_TOLERANCE = 0.05  # relative error of bf16 outputs above which fp32 stays


@dataclass(frozen=True)
class Execution:
    """A device, a precision and a memory format.

    Attributes:
        device: cuda, mps or cpu.
        precision: fp32, or bf16 for autocast with float32 weights.
        memory_format: contiguous or channels_last.
        probe: images a second of every choice that was tried, by "precision memory_format".
    """

    device: str
    precision: str
    memory_format: str
    probe: dict[str, float] = field(default_factory=dict, compare=False)

    @property
    def _torch_format(self) -> torch.memory_format:
        return torch.channels_last if self.memory_format == "channels_last" else torch.contiguous_format

    def place(self, model: nn.Module) -> nn.Module:
        """The network on the device, its weights in the memory format."""
        return model.to(self.device).to(memory_format=self._torch_format)

    def lay_out(self, images: Tensor) -> Tensor:
        """float (B, C, H, W) in the memory format; features (B, F) as they are."""
        if images.ndim != 4:
            return images
        return images.contiguous(memory_format=self._torch_format)

    def autocast(self) -> AbstractContextManager[Any]:
        """The context in which the network is called."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bf16")

    def facts(self) -> dict[str, Any]:
        """What a recipe records."""
        return asdict(self)


def find_device() -> str:
    """cuda, mps or cpu: the first that is there."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def random_state(device: str) -> dict[str, Tensor]:
    """What torch's generators on the processor and on the device draw next from."""
    state = {"cpu": torch.get_rng_state()}
    if device == "cuda":
        state["cuda"] = torch.cuda.get_rng_state()
    elif device == "mps":
        state["mps"] = torch.mps.get_rng_state()
    return state


def set_random_state(state: dict[str, Tensor]) -> None:
    """Draw next from a state that `random_state` gave."""
    torch.set_rng_state(state["cpu"])
    if "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"])
    if "mps" in state:
        torch.mps.set_rng_state(state["mps"])


def choose_execution(
    model: nn.Module,
    shape: tuple[int, int, int, int],
    precision: str,
    memory_format: str,
    network: Facts,
    findings: Findings = remembered,
) -> Execution:
    """What the caller asked for; where it says auto, the fastest in a probe of a few steps.

    A GPU with bf16 instructions takes bf16 and channels_last without a probe.

    A choice less plain than another (bf16 less than fp32, contiguous less than channels_last) must be
    a quarter faster. Other work on the machine can sway a probe all the same, and other precision means
    other bits; so a choice is made once and stands as long as all that it depends on.

    Args:
        model: the network; its weights are left as they are.
        shape: of a training batch, (B, C, H, W).
        precision: fp32, bf16 or auto.
        memory_format: contiguous, channels_last or auto.
        network: says which network it is.
        findings: keeps choices; left out, this process does.

    Raises:
        UserError: the choice cannot be kept.
    """
    device = find_device()
    candidates = [
        Execution(device, p, m)
        for p in ("fp32", "bf16")
        for m in ("channels_last", "contiguous")
        if precision in (p, "auto") and memory_format in (m, "auto")
    ]
    if device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        # What its matrix units were made for; a probe would cost each training more than it could gain.
        candidates = [
            max(candidates, key=lambda c: (c.precision == "bf16", c.memory_format == "channels_last"))
        ]
    if len(candidates) == 1:
        return candidates[0]
    depends_on = machine_facts(device) | {
        "version": PROBE_VERSION,
        "network": network,
        "layers": layers(model),
        "batch": list(shape),
        "precision": precision,
        "memory_format": memory_format,
    }
    return Execution(**findings(depends_on, lambda: _fastest(model, shape, candidates).facts()))


def layers(model: nn.Module) -> list[list[int]]:
    """The shapes of a network's state; its source may change and its name stay."""
    return [list(value.shape) for value in model.state_dict().values()]


def accelerator_name(device: str) -> str:
    """What its maker calls the device; empty for a processor."""
    return torch.cuda.get_device_name() if device == "cuda" else "" if device == "cpu" else device


def machine_facts(device: str) -> Facts:
    """What the speed of a network depends on besides the network and its images."""
    return {
        "device": accelerator_name(device) or device,
        "processor": processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
    }


def _fastest(model: nn.Module, shape: tuple[int, int, int, int], candidates: list[Execution]) -> Execution:
    state = {name: value.clone() for name, value in model.state_dict().items()}
    _fill_zeros(model)
    images = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(candidates[0].device)
    tried = [c for c in candidates if c.precision == "fp32" or _agrees_with_fp32(model, images, c)]
    # By turns, and the best of each: what else the machine does must not decide.
    rounds = [{c: _seconds_a_step(c.place(model), images, c) for c in tried} for _ in range(_ROUNDS)]
    speeds = {c: shape[0] / min(seconds[c] for seconds in rounds[1:]) for c in tried}
    model.load_state_dict(state)
    model.zero_grad(set_to_none=True)
    best = next(c for c in tried if speeds[c] * _WORTH_IT >= max(speeds.values()))
    probe = {f"{c.precision} {c.memory_format}": round(speed, 1) for c, speed in speeds.items()}
    return Execution(best.device, best.precision, best.memory_format, probe)


def _agrees_with_fp32(model: nn.Module, images: Tensor, candidate: Execution) -> bool:
    model = candidate.place(model).eval()
    with torch.no_grad():
        reference = model(images)
        with candidate.autocast():
            outputs = model(candidate.lay_out(images)).float()
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


def _seconds_a_step(model: nn.Module, images: Tensor, candidate: Execution) -> float:
    wait_for(candidate.device)
    started = time.perf_counter()
    with candidate.autocast():
        outputs = model(candidate.lay_out(images))
    outputs.float().square().mean().backward()
    wait_for(candidate.device)
    return time.perf_counter() - started


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the processor on a device, any dtype and shape.

    A CUDA device copies it in its turn, and nobody waits: that takes memory which is pinned.
    """
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def wait_for(device: str) -> None:
    """Until an accelerator has done all it was told."""
    if device == "cuda":
        torch.cuda.synchronize()
    elif device == "mps":
        torch.mps.synchronize()


@contextmanager
def for_training(device: str) -> Iterator[None]:
    """Let a GPU take its fastest ways: tf32 products, convolutions that were tried, a stream to record."""
    if device != "cuda":
        yield
        return
    backend, products = torch.backends.cudnn, torch.get_float32_matmul_precision()
    stream: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    tried, before = backend.benchmark, torch.cuda.current_stream()
    backend.benchmark = True
    torch.set_float32_matmul_precision("high")
    stream.wait_stream(before)
    try:
        with torch.cuda.stream(stream):
            yield
        before.wait_stream(stream)
    finally:
        backend.benchmark = tried
        torch.set_float32_matmul_precision(products)
