"""The targets head: one softmax per target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from softvote.heads.base import HeadSpec, NeedsNoCalibration, Reduction, register_head
from softvote.heads.objective import Objective
from softvote.heads.soft_targets import soft_cross_entropy
from softvote.task import Task

if TYPE_CHECKING:
    from torch import Tensor


@register_head(
    "targets",
    rank=6,
    kinds=("targets",),
    default_of="targets",
    takes_loss=True,
    takes_label_smoothing=True,
    takes_teacher=True,
)
class TargetsHead(NeedsNoCalibration):
    """One class each of T targets, cross-entropy or another loss.

    Args:
        target_sizes: how many classes each target has.
        objective: what is made small in training.
    """

    def __init__(self, target_sizes: tuple[int, ...], objective: Objective) -> None:
        self.num_outputs = sum(target_sizes)
        self.blocks = Task(self.num_outputs, kind="targets", target_sizes=target_sizes).blocks
        self.objective = objective

    @classmethod
    def from_spec(cls, spec: HeadSpec) -> Self:
        """Build the head of a specification."""
        return cls(spec.target_sizes, Objective(spec))

    def loss(
        self, outputs: Tensor, values: Tensor, digits: Tensor | None = None, reduction: Reduction = "mean"
    ) -> Tensor:
        """float (B, K) and int64 (B, T) -> float scalar, the mean of a row's T losses."""
        import torch

        each = [
            self.objective.of_classes(outputs[:, block], labels, block, reduction)
            for block, labels in zip(self.blocks, values.unbind(1), strict=True)
        ]
        return torch.stack(each).mean(0)

    def soft_loss(self, outputs: Tensor, wanted: Tensor, temperature: float) -> Tensor:
        """float (B, K) and (B, K) -> float32 (B,), the mean of a row's T losses in nats."""
        import torch

        each = [
            soft_cross_entropy(outputs[:, block].float(), wanted[:, block], temperature)
            for block in self.blocks
        ]
        return torch.stack(each).mean(0)

    def probabilities(self, outputs: Tensor) -> Tensor:
        """float (B, K) -> float32 (B, K), each target's sum to 1."""
        import torch

        return torch.cat([outputs[:, block].float().softmax(1) for block in self.blocks], dim=1)
