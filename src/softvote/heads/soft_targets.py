"""How far logits are from wanted probabilities, at a temperature (Hinton, Vinyals and Dean 2015).

At temperature T, logits are divided by T on both sides, the logarithms of the wanted probabilities being
theirs; what is improbable then counts more. Gradients shrink by the square of T, by which losses are
multiplied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_LEAST = 1e-12  # of a wanted probability, whose logarithm is taken


def soft_cross_entropy(logits: Tensor, wanted: Tensor, temperature: float) -> Tensor:
    """Of one of K classes: float32 (B, K) and probabilities (B, K) -> float32 (B,), in nats."""
    from torch.nn import functional

    if temperature != 1:
        wanted = functional.softmax(wanted.clamp_min(_LEAST).log() / temperature, dim=1)
    each = functional.cross_entropy(logits / temperature, wanted, reduction="none")
    return each * temperature**2


def soft_binary_cross_entropy(logits: Tensor, wanted: Tensor, temperature: float) -> Tensor:
    """Of K tags: float32 (B, K) and probabilities (B, K) -> float32 (B,), their mean in nats."""
    from torch.nn import functional

    if temperature != 1:
        wanted = (wanted.clamp(_LEAST, 1 - 1e-7).logit() / temperature).sigmoid()
    each = functional.binary_cross_entropy_with_logits(logits / temperature, wanted, reduction="none")
    return each.mean(1) * temperature**2
