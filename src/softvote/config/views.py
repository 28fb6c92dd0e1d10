"""How a network sees an image: its view, and the views of test-time augmentation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from softvote.config.schema import Strict


class Crop(Strict):
    """A part of the image enlarged to the whole: a random one in training, the middle in prediction."""

    name: Literal["crop"]
    """View: a part of the image, enlarged to its full size."""
    size: Annotated[int, Field(ge=2)]
    """Pixels of the crop's shorter side; the other side has the same proportion of the image's."""


class Deskew(Strict):
    """The image sheared along x until its second moments do not lean."""

    name: Literal["deskew"]
    """View: slanted digits stand upright."""


class Box(Strict):
    """What is not background stretched along x to a width, in the middle of the image."""

    name: Literal["box"]
    """View: what is drawn has one width."""
    width: Annotated[int, Field(ge=2)]
    """Width in pixels that the bounding box is stretched to."""


View = Annotated[Crop | Deskew | Box, Field(discriminator="name")]


class TestTime(Strict):
    """Test-time augmentation: predictions averaged over shifted views, out-of-fold and test alike."""

    __test__ = False  # not a test class, whatever pytest makes of the name

    shift: Annotated[int, Field(ge=0)] = 0
    """Distance in pixels: predictions are averaged over the image itself and four copies shifted up, down,
    left and right; 0 predicts from the image alone."""
