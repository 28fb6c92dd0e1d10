"""What a competition asks of an image: the meaning of the columns of probabilities."""

from __future__ import annotations

from dataclasses import dataclass

LARGEST_DIGIT = 9


LARGEST_ADDEND = 9


@dataclass(frozen=True)
class Task:
    """What is to be named.

    Attributes:
        num_classes: K, of the label.
        hidden_digits: S, where the label is a sum of digits 0..9 that hide in the image.
        addend: whether a known integer 0..9 comes with the image and is part of the sum.
    """

    num_classes: int
    hidden_digits: int | None = None
    addend: bool = False

    @property
    def num_values(self) -> int:
        """How many values an image can show: the classes, less what the addend puts on top."""
        return self.num_classes - (LARGEST_ADDEND if self.addend else 0)

    @property
    def is_of_sums(self) -> bool:
        """Whether labels are sums of several numbers, so that how far off a guess is means something."""
        return (self.hidden_digits or 0) + self.addend > 1
