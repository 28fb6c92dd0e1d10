"""Random changes to training images, as a recipe names them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from softvote.config.schema import BelowOne, Fraction, NonNegative, Strict


class Augment(Strict):
    """Random changes to training images; every amount is the most in either direction."""

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

    def amounts(self) -> str:
        """The amounts that are not zero, for people."""
        given = self.model_dump(exclude={"engine"}, exclude_defaults=True)
        words = [name if amount is True else f"{name} {amount:g}" for name, amount in given.items()]
        return " ".join(words) or "none"
