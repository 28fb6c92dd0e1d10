"""The registry of optimisers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from softvote.config.entries import OptimizerConfig
from softvote.config.registry import Registry, register_by_name

OPTIMIZERS: Registry[type[OptimizerConfig]] = Registry()
"""The class of every `optimizer.name`."""


_C = TypeVar("_C", bound=OptimizerConfig)


def register_optimizer(rank: int = 100) -> Callable[[type[_C]], type[_C]]:
    """Register a class under the name that its `name: Literal[...]` allows; `rank` as for `Registry.add`."""
    return register_by_name(OPTIMIZERS, rank)
