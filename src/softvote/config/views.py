"""How a network sees an image: its view, and the views of test-time augmentation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from softvote.config.schema import BelowOne, Strict
from softvote.errors import Problem


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
    """Test-time augmentation: predictions averaged over views, out-of-fold and test alike."""

    __test__ = False  # not a test class, whatever pytest makes of the name

    shift: Annotated[int, Field(ge=0)] = 0
    """Distance in pixels: predictions are averaged over the image itself and four copies shifted up, down,
    left and right; 0 predicts from the image alone."""
    five_crops: BelowOne = 0.0
    """Side of five crops, as a proportion of the image's: four corners and the middle, enlarged to the whole,
    come beside the image itself; 0 takes none."""
    horizontal_flip: bool = False
    """Each of these is seen mirrored left to right too."""
    vertical_flip: bool = False
    """Each of these is seen mirrored top to bottom too."""
    quarter_turns: bool = False
    """Each of these is seen turned by 90, 180 and 270 degrees too; for square images."""

    @property
    def count(self) -> int:
        """How many views of an image predict; turns and one flip give the other flip already."""
        symmetries = (1 + self.horizontal_flip) * (1 + self.vertical_flip)
        if self.quarter_turns:
            symmetries = 8 if symmetries > 1 else 4
        return (1 + 4 * bool(self.shift) + 5 * bool(self.five_crops)) * symmetries

    def find_misfits(self, channels: int, height: int, width: int) -> Iterator[Problem]:
        """Why it is not for images of this shape; the place is a key."""
        if self.shift >= min(height, width):
            what = f"{self.shift} moves images of {height} x {width} out of sight"
            yield Problem("shift", what, "use 1 or 2")
        if self.quarter_turns and height != width:
            what = f"turns square images, and these are {height} x {width}"
            yield Problem("quarter_turns", what, "use vertical_flip and horizontal_flip")
