"""Registries: what a pipeline file may name, found where it is implemented.

Augmentations, heads, layouts of files, optimisers, schedules and rules of the vote live in the rooms above
this one, each in one file that registers itself. The schema is built from their names without depending on
them: as entry points of Python packages, a registry is found by its place, "module:name". Such modules import
torch only where they compute, because reading a pipeline file must not. What registries hold derives from the
classes in `softvote.config.entries`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Literal, TypeVar, Union, get_args

from pydantic import BeforeValidator, Field

from softvote.config.schema import Strict

_T = TypeVar("_T")
_S = TypeVar("_S", bound=Strict)


AUGMENTATIONS_PLACE = "softvote.training.augmentations:AUGMENTATIONS"
DECISIONS_PLACE = "softvote.ensembling.decisions:DECISIONS"
FORMS_PLACE = "softvote.data.forms:FORMS"
HEADS_PLACE = "softvote.heads:HEADS"
LOSSES_PLACE = "softvote.heads.losses:LOSSES"
METRICS_PLACE = "softvote.metrics:METRICS"
OPTIMIZERS_PLACE = "softvote.training.optimizers:OPTIMIZERS"
READERS_PLACE = "softvote.data.readers.registry:READERS"
RULES_PLACE = "softvote.ensembling.rules:RULES"
SCHEDULES_PLACE = "softvote.training.schedules:SCHEDULES"
TRACKERS_PLACE = "softvote.trackers:TRACKERS"


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


def register_by_name(registry: Registry[Any], rank: int) -> Callable[[type[_S]], type[_S]]:
    """Decorate a class to be registered under the name that its `name: Literal[...]` allows.

    Args:
        rank: as for `Registry.add`.
    """

    def add(kind: type[_S]) -> type[_S]:
        [name] = get_args(kind.model_fields["name"].annotation)
        registry.add(name, kind, rank)
        return kind

    return add


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


def named_union_of(kinds: Mapping[str, type[Strict]], *extra: str) -> Any:
    """The type of a key that takes a name, or one of these classes with the name inside it.

    `metric: accuracy` stands for `metric: {name: accuracy}`.

    Args:
        extra: further names that the key takes and whose meaning its own validator knows.
    """
    of_kind = union_of(kinds.values(), "name")
    written = literal_of([*extra, *kinds]) | of_kind
    return Annotated[of_kind, BeforeValidator(_spell_out, json_schema_input_type=written)]


def _spell_out(written: Any) -> Any:
    return {"name": written} if isinstance(written, str) else written
