"""No schedule at all."""

from __future__ import annotations

from typing import Literal

from softvote.config.entries import ScheduleConfig
from softvote.training.schedules.base import register_schedule


@register_schedule(rank=0)
class Constant(ScheduleConfig):
    name: Literal["constant"]
    """`constant`: the learning rate stays what the optimizer says."""
