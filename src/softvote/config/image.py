"""What one image looks like, as a pipeline file says under `competition.image`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from softvote.config.schema import ConfigError, Strict
from softvote.words import counted


def _kind_of_range(value: Any) -> str:
    nested = isinstance(value, list) and value and isinstance(value[0], list | tuple)
    return "each" if nested else "all"


_Pair = tuple[float, float]


ValueRange = Annotated[
    Annotated[_Pair, Tag("all")] | Annotated[list[_Pair], Tag("each")], Discriminator(_kind_of_range)
]


class Image(Strict):
    """What one image looks like."""

    height: Annotated[int, Field(ge=1)]
    """Height of every image, in pixels."""
    width: Annotated[int, Field(ge=1)]
    """Width of every image, in pixels."""
    channels: Annotated[int, Field(ge=1, le=16)] = 1
    """Number of channels: 1 for grey, 3 for RGB, 4 for RGB with alpha as it stands, others for bands."""
    resize: bool = False
    """Resize image files of other sizes to this one, instead of refusing them."""
    draft: bool = False
    """With `resize`: JPEG files of at least twice this size are shrunk by powers of two while they are
    decoded, which is faster, and gives slightly other pixels."""
    value_range: ValueRange | None = None
    """Values that become black and white, as `[low, high]`, where images do not have 8 bits (16-bit PNG and
    TIFF, floats, DICOM); values beyond them are cut off. Several such pairs are one for each channel: a DICOM
    window of center c and width w is `[c - w/2, c + w/2]`. If omitted, 16 bits are `[0, 65535]`."""
    background: Literal["white", "black"] = "white"
    """What transparent images are laid on where `channels` is 1 or 3."""

    @model_validator(mode="after")
    def _ranges_fit(self) -> Image:
        if self.draft and not self.resize:
            raise ConfigError.at("", "draft: goes with resize", "set resize: true, or leave it out")
        ranges = self.value_ranges
        if len(ranges) > 1 and len(ranges) != self.channels:
            raise ConfigError.at(
                "",
                f"value_range: {len(ranges)} pairs for {counted(self.channels, 'channel')}",
                "write one, or one each",
            )
        if any(high <= low for low, high in ranges):
            raise ConfigError.at("", "value_range: the second value must be above the first")
        return self

    @property
    def decoding(self) -> dict[str, Any]:
        """The keys that say how values of image files become 0..255, as JSON; empty where none is given."""
        keys = {"value_range", "background", "draft"}
        return self.model_dump(mode="json", include=keys, exclude_defaults=True)

    @property
    def value_ranges(self) -> list[tuple[float, float]]:
        """The pairs of `value_range`: none, one for all channels, or one for each."""
        if self.value_range is None:
            return []
        return [self.value_range] if isinstance(self.value_range, tuple) else self.value_range
