"""The registry of schedules."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, get_args

from softvote.config.registry import Registry, ScheduleConfig

SCHEDULES: Registry[type[ScheduleConfig]] = Registry()
"""The class of every `schedule.name`."""


_C = TypeVar("_C", bound=ScheduleConfig)


def register_schedule(rank: int = 100) -> Callable[[type[_C]], type[_C]]:
    """Register a class under the name that its `name: Literal[...]` allows; `rank` as for `Registry.add`."""

    def add(kind: type[_C]) -> type[_C]:
        [name] = get_args(kind.model_fields["name"].annotation)
        SCHEDULES.add(name, kind, rank)
        return kind

    return add
