"""A learning rate that falls when the loss does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from softvote.config.entries import ScheduleConfig
from softvote.training.schedules.base import register_schedule

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler


@register_schedule(rank=1)
class Plateau(ScheduleConfig):
    """The learning rate falls when the watched loss stops falling; looked at once per epoch."""

    moves_per: ClassVar[Literal["step", "epoch"]] = "epoch"

    name: Literal["plateau"]
    """`plateau`: torch's ReduceLROnPlateau, looked at once per epoch."""
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Factor by which the learning rate is multiplied when the watched loss stops falling."""
    patience: Annotated[int, Field(ge=0)] = 2
    """Epochs without improvement that are let pass before the learning rate falls."""
    watch: Literal["training_loss", "held_out"] = "training_loss"
    """The loss to watch: of training, or of a slice of the training folds kept out of training (`held_out`).
    The validation fold is never watched."""
    held_out: Annotated[float, Field(gt=0, le=0.5)] = 0.1
    """Proportion of the training rows that `watch: held_out` keeps out of training."""

    @property
    def held_out_proportion(self) -> float:
        """What `held_out` says, where it is that which is watched."""
        return self.held_out if self.watch == "held_out" else 0.0

    def create(self, optimizer: Optimizer, steps: int) -> LRScheduler:
        """Build torch's scheduler."""
        from torch.optim.lr_scheduler import ReduceLROnPlateau

        return ReduceLROnPlateau(optimizer, factor=self.factor, patience=self.patience)
