"""How digits lie beside each other in an image of several; measured where the boxes of 27,139 were found."""

from __future__ import annotations

SIDE = 28
"""Height and width of a digit's box."""


FIRST = 8
"""The first digit's box begins in the columns 0..FIRST."""


STEP_LOW, STEP_HIGH = 14, 44
"""A box begins so many columns after the one before it; boxes under 28 apart overlap."""


def least_width(digits: int) -> int:
    """The narrowest image in which so many digits always have room."""
    return FIRST + STEP_HIGH * (digits - 1) + SIDE
