"""The registry of losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from softvote.config.entries import LossConfig
from softvote.config.registry import Registry, register_by_name

LOSSES: Registry[type[LossConfig]] = Registry()
"""The class of every `loss.name`."""


_C = TypeVar("_C", bound=LossConfig)


def register_loss(rank: int = 100) -> Callable[[type[_C]], type[_C]]:
    """Register a class under the name that its `name: Literal[...]` allows; `rank` as for `Registry.add`."""
    return register_by_name(LOSSES, rank)
