"""Where tensors go."""

from __future__ import annotations

import pytest
import torch

from softvote.compute.device import to_device


@pytest.mark.parametrize(("place", "pinned"), [("cpu", 1), ("meta", 0)])
def test_only_memory_of_the_processor_is_pinned(
    monkeypatch: pytest.MonkeyPatch, place: str, pinned: int
) -> None:
    """What lies on a device cannot be; "meta" stands for a GPU, and nothing is copied."""
    seen = list[torch.Tensor]()

    def pin(tensor: torch.Tensor) -> torch.Tensor:
        seen.append(tensor)
        return tensor

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, *_, **__: tensor)
    tensor = torch.zeros(2, device=place)
    assert to_device(tensor, torch.device("cuda")) is tensor and len(seen) == pinned
