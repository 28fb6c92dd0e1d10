"""What every head does, and what is known when one is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, Self

from torch import Tensor

from softvote.task import LARGEST_DIGIT


class Head(Protocol):
    """From raw outputs to a loss, and to probabilities of the values an image can show."""

    num_outputs: int
    needs_calibration: bool
    """Whether something is left to measure on rows the network was not trained on."""

    def loss(self, outputs: Tensor, values: Tensor, digits: Tensor | None = None) -> Tensor:
        """How wrong the outputs are.

        Args:
            outputs: float (B, num_outputs).
            values: int64 (B,), 0..K-1.
            digits: int64 (B, S), the hidden digits 0..9; -1 throughout a row where they are not known.

        Returns:
            float scalar, the mean a row.
        """
        ...

    def probabilities(self, outputs: Tensor) -> Tensor:
        """float (B, num_outputs) -> float32 (B, K), rows that sum to 1."""
        ...

    def calibrate(self, outputs: Tensor, values: Tensor) -> Self:
        """The head with what can only be measured on rows the network was not trained on.

        Args:
            outputs: float (n, num_outputs), of such rows.
            values: int64 (n,), what they show.
        """
        ...

    def uncalibrated(self) -> Self:
        """The head as it was before anything was measured."""
        ...

    def facts(self) -> dict[str, float]:
        """What `calibrate` measured: `create_head` takes it back."""
        ...


class NeedsNoCalibration:
    """A head that is complete once its network is trained."""

    needs_calibration = False

    def calibrate(self, outputs: Tensor, values: Tensor) -> Self:
        """Nothing is left to measure."""
        return self

    def uncalibrated(self) -> Self:
        """Nothing was measured."""
        return self

    def facts(self) -> dict[str, float]:
        """None."""
        return {}


@dataclass(frozen=True)
class HeadSpec:
    """All that any head is made from; each takes what it needs.

    Attributes:
        num_values: K, how many values an image can show.
        hidden_digits: S, where the value is the sum of digits that hide in the image.
        label_smoothing: share of the probability spread over all classes.
        facts: what such a head once measured.
    """

    num_values: int
    hidden_digits: int | None = None
    label_smoothing: float = 0.0
    facts: dict[str, float] | None = None

    def digits(self) -> int:
        """S.

        Raises:
            ValueError: K is not 9 S + 1.
        """
        if self.hidden_digits is None or self.num_values != LARGEST_DIGIT * self.hidden_digits + 1:
            raise ValueError(f"{self.num_values} values are not the sums of {self.hidden_digits} digits")
        return self.hidden_digits
