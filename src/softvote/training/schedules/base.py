"""The registry of schedules."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from softvote.config.entries import ScheduleConfig
from softvote.config.registry import Registry, register_by_name

SCHEDULES: Registry[type[ScheduleConfig]] = Registry()
"""The class of every `schedule.name`."""


_C = TypeVar("_C", bound=ScheduleConfig)


def register_schedule(rank: int = 100) -> Callable[[type[_C]], type[_C]]:
    """Register a class under the name that its `name: Literal[...]` allows; `rank` as for `Registry.add`."""
    return register_by_name(SCHEDULES, rank)
