"""Images whose pixels stand in rows of numbers, as files of tables have them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from softvote.config.schema import ConfigError
from softvote.data.decoding import Decoder, resize_pixels
from softvote.data.image_values import ImageError
from softvote.data.reader_configs import LabelledFiles
from softvote.errors import ErrorCollector
from softvote.words import counted

if TYPE_CHECKING:
    from softvote.config.competition import Competition


Side = Annotated[int, Field(ge=1)]


class FlatPixels(LabelledFiles):
    """Files with a row of numbers for each image."""

    size: tuple[Side, Side] | None = None
    """Height and width of the images in the files, where `competition.image` resizes them."""

    @property
    def packages(self) -> dict[str, str]:
        return {"PIL": "pillow"}

    def check_addend(self, addend: bool) -> None:
        """Refuse addends."""
        if addend:
            raise ConfigError.at(
                "", f"files of format {self.format} cannot hold addends", "use pixel_csv or npy"
            )


def shape_pixels(
    values: NDArray[Any], path: Path, competition: Competition, problems: ErrorCollector
) -> NDArray[np.uint8]:
    """uint8 (N, C, H, W) of numbers (N, pixels) row by row; what is wrong is noted."""
    files, image = competition.files, competition.image
    assert isinstance(files, FlatPixels)
    height, width = files.size or (image.height, image.width)
    nothing = np.zeros((0, image.channels, image.height, image.width), np.uint8)
    expected = height * width * image.channels
    if values.shape[1] != expected:
        size = f"{height} x {width} x {image.channels} = {expected}"
        fix = "write files.size" if files.size is None else "fix files.size"
        problems.add(
            path, f"has {counted(values.shape[1], 'pixel')} per image, competition.image is {size}", fix
        )
        return nothing
    levels = to_levels(values.reshape(-1, height, width, image.channels), path, competition, problems)
    if levels is None:
        return nothing
    pixels = np.ascontiguousarray(levels.transpose(0, 3, 1, 2))
    if (height, width) != (image.height, image.width) and not image.resize:
        found, named = f"{height} x {width}", f"{image.height} x {image.width}"
        problems.add(path, f"files.size is {found}, competition.image {named}", "set image.resize: true")
    return resize_pixels(pixels, image.height, image.width)


def to_levels(
    values: NDArray[Any], where: object, competition: Competition, problems: ErrorCollector
) -> NDArray[np.uint8] | None:
    """uint8 of values of any shape; whole numbers 0..255 stay, unless the pipeline says what is white."""
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind not in "iuf":
        problems.add(where, f"holds {values.dtype}, which is not a number", "fix files")
        return None
    if not competition.image.value_ranges and _are_levels(values):
        return values.astype(np.uint8)
    try:
        return Decoder(competition.image).scale(values, check=True)
    except ImageError as error:
        problems.add(where, error.what, error.hint)
        return None


def _are_levels(values: NDArray[Any]) -> bool:
    """Whether these are whole numbers 0..255; floats up to 1 may mean something else."""
    largest = values.max(initial=0)
    whole = values.dtype.kind != "f" or bool(np.isfinite(values).all() and (values == np.round(values)).all())
    return bool(
        whole and values.min(initial=0) >= 0 and largest <= 255 and (values.dtype.kind != "f" or largest > 1)
    )
