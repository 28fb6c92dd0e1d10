"""In which precision and memory format a network runs."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class ComputeConfig:
    """A device, a precision and a memory format.

    Attributes:
        device: cuda, mps or cpu.
        precision: fp32, or for autocast with float32 weights bf16, or fp16 to predict where a GPU lacks bf16.
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
        """The same for predictions here: fp16 on a GPU that would only imitate bf16, such as a T4.

        Training in fp16 would need its losses scaled; predictions are computed again where fp16 overflows.
        """
        imitates = self.device == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False)
        return replace(self, precision="fp16") if self.precision == "bf16" and imitates else self

    def in_full(self) -> ComputeConfig:
        """The same in float32."""
        return replace(self, precision="fp32")

    def to_json(self) -> dict[str, Any]:
        """What a training's record says of it."""
        return asdict(self)
