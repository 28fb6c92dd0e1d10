"""Random changes to training images, as a recipe names them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from softvote.config.entries import AugmentationConfig
from softvote.config.registry import AUGMENTATIONS_PLACE, load_registry
from softvote.config.schema import BelowOne, ConfigError, Fraction, NonNegative, Strict
from softvote.errors import Problem

_FAMILIES: dict[str, type[AugmentationConfig]] = dict(load_registry(AUGMENTATIONS_PLACE))


class _Movements(Strict):
    """What both engines know; every amount is the most in either direction."""

    engine: Literal["batched", "albumentations"] = "batched"
    """`batched` treats whole batches on the device; `albumentations` image by image on the CPU, with `shift`
    and `elastic` in whole pixels."""
    rotate: Annotated[float, Field(ge=0, le=180)] = 0.0
    """Largest rotation in either direction, in degrees."""
    scale: BelowOne = 0.0
    """Largest zoom in either direction, as a proportion: 0.1 draws factors from 0.9 to 1.1."""
    scale_apart: bool = False
    """Zoom is drawn for x and y each, so that images are stretched as well."""
    shear: Annotated[float, Field(ge=0, le=60)] = 0.0
    """Largest shear along x in either direction, in degrees."""
    shift: NonNegative = 0.0
    """Largest translation along each axis in either direction, in pixels."""
    elastic: NonNegative = 0.0
    """Largest displacement of each point of a 4 x 4 elastic grid, in pixels."""
    horizontal_flip: Fraction = 0.0
    """Probability that an image is mirrored left to right."""


class _Augment(_Movements):
    """What a specification can say of itself, whatever families there are."""

    @model_validator(mode="after")
    def _engine_knows_its_keys(self) -> _Augment:
        others = [
            key
            for family in self.families().values()
            if family.columns  # else it is the processor's
            for key in family.model_dump(exclude_defaults=True)
        ]
        if self.engine != "batched" and others:
            what = f"are for engine: batched, and here is engine: {self.engine}"
            hint = "leave engine out; transforms of albumentations are named under albumentations:"
            raise ConfigError(*(Problem(key, what, hint) for key in others))
        return self

    def families(self) -> dict[str, AugmentationConfig]:
        """What is asked for beyond movements, by the names of the families, in the order of the registry."""
        found = {}
        for name, kind in _FAMILIES.items():
            family = kind.model_construct(**{key: getattr(self, key) for key in kind.model_fields})
            if family.model_dump(exclude_defaults=True):
                found[name] = family
        return found

    @property
    def moves(self) -> bool:
        """Whether images are moved; where nothing else is asked for, they pass the same way unmoved."""
        movements = set(_Movements.model_fields) - {"engine"}
        moved = self.model_dump(include=movements, exclude_defaults=True)
        return bool(moved) or not self.families()

    def find_misfits(self, channels: int, height: int, width: int) -> Iterator[Problem]:
        """Why it is not for images of this shape; the place is a key."""
        for family in self.families().values():
            yield from family.find_misfits(channels, height, width)

    def amounts(self) -> str:
        """The amounts that are not zero, for people."""
        given = self.model_dump(exclude={"engine"}, exclude_defaults=True)
        return " ".join(_in_words(name, amount) for name, amount in given.items()) or "none"


def _in_words(name: str, amount: Any) -> str:
    if isinstance(amount, list):  # of names, each alone or with arguments
        return f"{name} {'+'.join(each if isinstance(each, str) else next(iter(each)) for each in amount)}"
    if isinstance(amount, dict):
        return " ".join([name, *(_in_words(key, value) for key, value in amount.items())])
    if isinstance(amount, tuple):
        return f"{name} {amount[0]:g}..{amount[1]:g}"
    return name if amount is True else f"{name} {amount:g}"


if TYPE_CHECKING:

    class Augment(_Augment):
        albumentations: list[str | dict[str, Any]] = []
else:

    class Augment(_Augment, *reversed(_FAMILIES.values()), _Movements):  # keys in the order of the families
        """Random changes to training images; every amount is the most in either direction."""
