"""The device that computes: finding it, feeding it, waiting for it."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


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
    """Draw next from a state, uint8 (n,) of each device, that `random_state` gave."""
    torch.set_rng_state(state["cpu"])
    if "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"])
    if "mps" in state:
        torch.mps.set_rng_state(state["mps"])


def accelerator_name(device: str) -> str:
    """What its maker calls the device; empty for a processor."""
    return torch.cuda.get_device_name() if device == "cuda" else "" if device == "cpu" else device


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on a device, any dtype and shape; itself where it lies there already.

    A CUDA device copies what is in the processor's memory in its turn, and nobody waits: that takes memory
    which is pinned.
    """
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def free_device_memory(device: str) -> int:
    """Bytes that an accelerator still has for tensors; none of a processor's count."""
    if device == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    if device == "mps":
        return int(torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
    return 0


def synchronize(device: str) -> None:
    """Until an accelerator has done all it was told."""
    if device == "cuda":
        torch.cuda.synchronize()
    elif device == "mps":
        torch.mps.synchronize()


def release_memory(device: str) -> None:
    """Give back what an accelerator holds for work that is done, recorded steps and all."""
    if device == "cuda":
        gc.collect()
        torch.cuda.empty_cache()


@contextmanager
def for_training(device: str) -> Iterator[None]:
    """Let a GPU take its fastest ways: tf32 products, convolutions that were tried, a stream to record.

    Trying takes as long for 1 epoch as for 100: a minute was seen for a network of 50 convolutions, so
    SOFTVOTE_CUDNN_BENCHMARK=0 takes the ways that cuDNN proposes.
    """
    if device != "cuda":
        yield
        return
    backend, products = torch.backends.cudnn, torch.get_float32_matmul_precision()
    stream: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    tried, before = backend.benchmark, torch.cuda.current_stream()
    backend.benchmark = os.environ.get("SOFTVOTE_CUDNN_BENCHMARK", "1") != "0"
    torch.set_float32_matmul_precision("high")
    stream.wait_stream(before)
    try:
        with torch.cuda.stream(stream):
            yield
        before.wait_stream(stream)
    finally:
        backend.benchmark = tried
        torch.set_float32_matmul_precision(products)
