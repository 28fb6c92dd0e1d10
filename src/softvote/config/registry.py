"""Registries: what a pipeline file may name, found where it is implemented.

Heads, layouts of files, optimisers, schedules and rules of the vote live in the rooms above this one, each in
one file that registers itself. The schema is built from their names without depending on them: as entry
points of Python packages, a registry is found by its place, "module:name". Such modules import torch only
where they compute, because reading a pipeline file must not.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeVar, Union

from pydantic import Field

from softvote.config.schema import Positive, Strict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch.nn import Parameter
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

_T = TypeVar("_T")


HEADS_PLACE = "softvote.heads:HEADS"


OPTIMIZERS_PLACE = "softvote.training.optimizers:OPTIMIZERS"


READERS_PLACE = "softvote.data.readers.registry:READERS"


RULES_PLACE = "softvote.ensembling.rules:RULES"


SCHEDULES_PLACE = "softvote.training.schedules:SCHEDULES"


class Registry(dict[str, _T]):
    """Things by their names, in the order in which they are listed for people."""

    def __init__(self) -> None:
        super().__init__()
        self._ranks: dict[str, int] = {}

    def add(self, name: str, thing: _T, rank: int = 100) -> None:
        """Register a thing; lists show it after those of lower rank, else in the order of registration.

        Raises:
            ValueError: the name is taken.
        """
        if name in self:
            raise ValueError(f"'{name}' is registered twice; choose another name")
        self._ranks[name] = rank
        self[name] = thing
        ordered = sorted(self.items(), key=lambda item: self._ranks[item[0]])
        self.clear()
        self.update(ordered)


def load_registry(place: str) -> Mapping[str, Any]:
    """The registry at "module:name"; importing the module fills it."""
    module, _, name = place.partition(":")
    registry: Mapping[str, Any] = getattr(importlib.import_module(module), name)
    return registry


def import_modules(package: str) -> None:
    """Import every module of a package, in the order of their names, so that what they hold is registered."""
    for found in pkgutil.iter_modules(importlib.import_module(package).__path__):
        importlib.import_module(f"{package}.{found.name}")


def literal_of(names: Iterable[str]) -> Any:
    """The type of a key that takes one of these names."""
    return Literal[tuple(names)]


def union_of(kinds: Iterable[type[Strict]], discriminator: str) -> Any:
    """The type of a key that takes one of these classes, as the key `discriminator` inside it says."""
    return Annotated[Union[tuple(kinds)], Field(discriminator=discriminator)]  # noqa: UP007  made of a list


class OptimizerConfig(Strict):
    """An optimiser's hyperparameters, and how torch makes it of them."""

    name: str
    lr: Positive

    def create(self, parameters: Iterator[Parameter], fused: bool) -> Optimizer:
        """Build torch's optimiser over parameters; import torch inside.

        Args:
            fused: whether the device has fused steps.
        """
        raise NotImplementedError


class ScheduleConfig(Strict):
    """How the learning rate moves in training, and how torch makes it do so."""

    moves_per: ClassVar[Literal["step", "epoch"]] = "step"
    """After what the rate moves; after an epoch it is told the loss that is watched."""

    name: str

    @property
    def held_out_proportion(self) -> float:
        """Proportion of the training rows that are kept out of training, for their loss to be watched."""
        return 0.0

    def create(self, optimizer: Optimizer, steps: int) -> LRScheduler | None:
        """Build torch's scheduler, or none where the rate stays; import torch inside.

        Args:
            steps: optimiser steps in the whole training.
        """
        return None


class FilesConfig(Strict):
    """How a competition's raw files are laid out; the reader of the same format reads them."""

    format: str

    @property
    def test_source(self) -> str:
        """What holds the test images, for people."""
        raise NotImplementedError

    def check_addend(self, addend: bool) -> None:
        """Refuse files that do not fit whether a known integer comes with each image.

        Raises:
            ValueError: they do not.
        """
