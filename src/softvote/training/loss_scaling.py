"""fp16 without lost gradients: the loss is scaled up before the backward pass, and gradients down after it.

See "Automatic mixed precision" in PyTorch's documentation, and Micikevicius et al. 2018, section 3.2.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class LossScaler(torch.amp.GradScaler):
    """torch's scaler of losses, which counts the steps it skips; of other precisions it changes nothing.

    A step whose gradients overflow is skipped and the scale halved; after 2,000 that do not, it is doubled.

    Args:
        device: cuda, mps or cpu.
        enabled: whether the network runs in fp16.
    """

    def __init__(self, device: str, enabled: bool) -> None:
        super().__init__(device, enabled=enabled)
        # On the device, because asking it after every step would wait for it.
        self._skipped = torch.zeros((), dtype=torch.int64, device=device)
        self._one = torch.ones((), device=device)

    @property
    def skipped(self) -> int:
        """How many steps were skipped; waits for the device."""
        return int(self._skipped)

    def update(self, new_scale: float | Tensor | None = None) -> None:
        """Move the scale on, and count the step if it was skipped; or set the scale, a scalar."""
        if new_scale is not None or not self.is_enabled():
            super().update(new_scale)
            return
        before = self.scale(self._one)
        super().update()
        self._skipped += self.scale(self._one) < before

    def state_dict(self) -> dict[str, Any]:
        """What another scaler of the same training needs to go on; empty where it changes nothing."""
        return super().state_dict() | ({"skipped": self.skipped} if self.is_enabled() else {})

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        super().load_state_dict(state_dict)
        if self.is_enabled():
            self._skipped.fill_(state_dict["skipped"])
