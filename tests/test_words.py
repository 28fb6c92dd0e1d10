"""One thing is not several."""

from __future__ import annotations

import pytest

from softvote.words import counted


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (counted(0, "row"), "0 rows"),
        (counted(1, "row"), "1 row"),
        (counted(1200, "row"), "1,200 rows"),
        (counted(1, "class", "classes"), "1 class"),
        (counted(2, "class", "classes"), "2 classes"),
        (counted(1, "image is", "images are"), "1 image is"),
        (counted(0, "image is", "images are"), "0 images are"),
    ],
)
def test_things_are_called_by_their_number(said: str, told: str) -> None:
    assert said == told
