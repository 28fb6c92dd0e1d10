"""The regression head: a number, read as a normal distribution."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Self

from softvote.heads.base import HeadSpec, Reduction, register_head

if TYPE_CHECKING:
    from torch import Tensor


@register_head("regression", rank=1, kinds=("classes", "ordered"), needs_numbers=True)
class RegressionHead:
    """One number, squared error; a normal distribution cut at the half-integers makes it probabilities.

    The output is the distance from the middle of the values, so that an untrained network starts there.

    Args:
        num_values: K; the values are 0..K-1.
        calibration: `width`, the standard deviation of the normal distribution, in values; 1 until it is
            fitted.
    """

    num_outputs = 1
    needs_calibration = True

    def __init__(self, num_values: int, calibration: dict[str, float] | None = None) -> None:
        self.num_values = num_values
        self._calibration = dict(calibration or {})

    @classmethod
    def from_spec(cls, spec: HeadSpec) -> Self:
        """Build the head of a specification."""
        return cls(spec.num_values, spec.calibration)

    def numbers(self, outputs: Tensor) -> Tensor:
        """float (B, 1) -> float32 (B,), the values that are meant."""
        return outputs.float().squeeze(1) + (self.num_values - 1) / 2

    def loss(
        self, outputs: Tensor, values: Tensor, digits: Tensor | None = None, reduction: Reduction = "mean"
    ) -> Tensor:
        """float (B, 1) and int64 (B,) -> float scalar, the mean squared error."""
        from torch.nn import functional

        return functional.mse_loss(self.numbers(outputs), values.float(), reduction=reduction)

    def probabilities(self, outputs: Tensor) -> Tensor:
        """float (B, 1) -> float32 (B, K); the ends take what lies beyond them."""
        return _discretised_normal(
            self.numbers(outputs), self._calibration.get("width", 1.0), self.num_values
        )

    def calibrate(self, outputs: Tensor, values: Tensor) -> Self:
        """Measure the errors, and take the width that makes the true values most probable."""
        from scipy.optimize import minimize_scalar

        numbers = self.numbers(outputs)
        error = (numbers.double() - values).abs()

        def loss(log_width: float) -> float:
            each = _discretised_normal(numbers, math.exp(log_width), self.num_values).double()
            return float(-each.gather(1, values[:, None]).clamp_min(1e-7).log().mean())

        width = minimize_scalar(loss, bounds=(math.log(0.02), math.log(self.num_values)), method="bounded")
        rounded = numbers.round().clamp(0, self.num_values - 1)
        calibration = {
            "width": math.exp(width.x),
            "rows": len(values),
            "mse": float(error.square().mean()),
            "mse_standard_error": _standard_error(error.square()),
            "mae": float(error.mean()),
            "mae_standard_error": _standard_error(error),
            "rounded_accuracy": float((rounded == values).double().mean()),
        }
        return type(self)(self.num_values, calibration)

    def uncalibrated(self) -> Self:
        """The head with a width of 1."""
        return type(self)(self.num_values)

    def calibration(self) -> dict[str, float]:
        """width; of how many rows, and of their raw numbers: mse, mae, rounded_accuracy (a share)."""
        return dict(self._calibration)


def _standard_error(each: Tensor) -> float:
    """Of the mean of n values; not a number where n is 1."""
    return float(each.std()) / math.sqrt(len(each)) if len(each) > 1 else math.nan


def _discretised_normal(means: Tensor, width: float, num_values: int) -> Tensor:
    """Probabilities float32 (B, K) of the integers nearest to a normal variable of these means."""
    import torch
    from torch.nn import functional

    borders = torch.arange(num_values - 1, device=means.device) + 0.5
    exact = torch.float32 if means.device.type == "mps" else torch.float64
    distances = (borders.to(exact) - means.to(exact)[:, None]) / width
    # What lies beyond a border, seen from the mean: small shares keep their digits on both sides, and a
    # vote of logits looks at them.
    beyond = 0.5 * torch.special.erfc(distances.abs() * math.sqrt(0.5))
    above = distances >= 0
    shares = torch.diff(functional.pad(torch.where(above, -beyond, beyond), (1, 1)), dim=1)
    ends = functional.pad(functional.pad(above.to(exact), (1, 0)), (0, 1), value=1.0)
    return (shares + torch.diff(ends, dim=1)).float()
