"""The registry of losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, get_args

from softvote.config.registry import LossConfig, Registry

LOSSES: Registry[type[LossConfig]] = Registry()
"""The class of every `loss.name`."""


_C = TypeVar("_C", bound=LossConfig)


def register_loss(rank: int = 100) -> Callable[[type[_C]], type[_C]]:
    """Register a class under the name that its `name: Literal[...]` allows; `rank` as for `Registry.add`."""

    def add(loss: type[_C]) -> type[_C]:
        [name] = get_args(loss.model_fields["name"].annotation)
        LOSSES.add(name, loss, rank)
        return loss

    return add
