"""How fast the machine convolves, which bounds every loop."""

from __future__ import annotations

import time

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from softvote.compute.precision import ComputeConfig


def synchronise() -> None:
    """Wait until the device has done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def convolution_rate(compute_config: ComputeConfig, seconds: float = 1.0) -> float:
    """FLOP/s of a 3 x 3 convolution, 64 to 64 channels, of 64 images of 56 x 56."""
    dtype = torch.bfloat16 if compute_config.precision == "bf16" else torch.float32
    layer = compute_config.to_device(nn.Conv2d(64, 64, 3, padding=1, bias=False)).to(dtype)
    images = compute_config.to_memory_format(torch.randn(64, 64, 56, 56).to(compute_config.device, dtype))
    with torch.no_grad():
        layer(images)
        synchronise()
        started, rounds = time.perf_counter(), 0
        while time.perf_counter() - started < seconds:
            layer(images)
            synchronise()
            rounds += 1
        spent = time.perf_counter() - started
    return rounds * 2 * images.numel() * 64 * 3 * 3 / spent


def convolution_flops(model: nn.Module, image: tuple[int, ...]) -> int:
    """Of one image (C, H, W) forward; a multiplication and an addition are two."""
    model.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, *image))
    return int(counter.get_flop_counts()["Global"].get(torch.ops.aten.convolution, 0))
