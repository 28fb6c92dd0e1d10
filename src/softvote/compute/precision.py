"""In which precision and memory format a network runs."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn


def imitates_bf16() -> bool:
    """Whether the CUDA device has no bf16 of its own, such as a T4, so that it would gain nothing."""
    return not torch.cuda.is_bf16_supported(including_emulation=False)


@dataclass(frozen=True)
class ComputeConfig:
    """A device, a precision and a memory format.

    Attributes:
        device: cuda, mps or cpu.
        precision: fp32, or bf16 or fp16 for autocast with float32 weights.
        memory_format: contiguous or channels_last.
        probe: images per second of every choice that was tried, by "precision memory_format".
    """

    device: str
    precision: str
    memory_format: str
    probe: dict[str, float] = field(default_factory=dict, compare=False)

    @property
    def _torch_format(self) -> torch.memory_format:
        return torch.channels_last if self.memory_format == "channels_last" else torch.contiguous_format

    def to_device(self, model: nn.Module) -> nn.Module:
        """The network on the device, its weights in the memory format."""
        return model.to(self.device).to(memory_format=self._torch_format)

    def to_memory_format(self, images: Tensor) -> Tensor:
        """float (B, C, H, W) in the memory format; features (B, F) as they are."""
        if images.ndim != 4:
            return images
        return images.contiguous(memory_format=self._torch_format)

    def autocast(self) -> AbstractContextManager[Any]:
        """The context in which the network is called."""
        dtype = torch.float16 if self.precision == "fp16" else torch.bfloat16
        return torch.autocast(self.device, dtype, enabled=self.precision != "fp32")

    def to_predict(self) -> ComputeConfig:
        """The same for predictions on this device, whatever device it was trained on.

        A GPU that would only imitate bf16 takes fp16, where predictions that overflow are computed again; a
        processor takes fp32 for fp16, which it would only imitate.
        """
        if self.precision == "bf16" and self.device == "cuda" and imitates_bf16():
            return replace(self, precision="fp16")
        return self.in_full() if self.precision == "fp16" and self.device == "cpu" else self

    def in_full(self) -> ComputeConfig:
        """The same in float32."""
        return replace(self, precision="fp32")

    def to_json(self) -> dict[str, Any]:
        """What a training's record says of it."""
        return asdict(self)
