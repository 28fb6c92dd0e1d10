"""Asymmetric loss: of tags, most of which are absent, those that are present count more."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from softvote.config.entries import LossConfig
from softvote.config.schema import BelowOne, NonNegative
from softvote.heads.losses.base import register_loss
from softvote.task import TaskKind

if TYPE_CHECKING:
    from torch import Tensor


@register_loss(rank=2)
class Asymmetric(LossConfig):
    """Binary cross-entropy, with a focal factor of its own for absent tags, of which sure ones are left out.

    Ridnik et al. 2021, "Asymmetric loss for multi-label classification".
    """

    kinds: ClassVar[tuple[TaskKind, ...]] = ("tags",)

    name: Literal["asymmetric"]
    """`asymmetric`: of tags; absent ones count less, and not at all where they are sure (Ridnik et al.
    2021)."""
    gamma_absent: NonNegative = 4.0
    """Exponent of the focal factor of tags that are absent, no unit."""
    gamma_present: NonNegative = 1.0
    """Exponent of the focal factor of tags that are present, no unit."""
    clip: BelowOne = 0.05
    """Probability that is taken off those of absent tags, down to 0; what is below it teaches nothing."""

    def of_tags(self, logits: Tensor, wanted: Tensor) -> Tensor:
        """As published; wanted probabilities between 0 and 1 weigh the two parts."""
        from torch.nn.functional import logsigmoid

        present = logits.sigmoid()
        shifted = (present - self.clip).clamp_min(0)
        of_present = (1 - present) ** self.gamma_present * logsigmoid(logits)
        # The log of 1 - p + clip; without clip that of 1 - p, which keeps its digits where p rounds to 1.
        log_absent = (1 - shifted).log() if self.clip else logsigmoid(-logits)
        return -(wanted * of_present + (1 - wanted) * shifted**self.gamma_absent * log_absent)
