"""Heads: what a network's raw output means, how it is trained, and how it becomes probabilities.

A head speaks of what the image shows: K values, numbered from 0. Where the value is the sum of S
hidden digits, K is 9 S + 1. What comes along with an image (an addend) is no business of a head; see
`softvote.networks`.

Adding a head is adding one class, and its name to `HEADS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor
from torch.nn import functional

from softvote.competition import LARGEST_DIGIT

DIGITS = LARGEST_DIGIT + 1
"""Values of one hidden digit."""

_IMPOSSIBLE = -1e30  # for the log of zero: differences of it are numbers, those of -inf are not


class Head(Protocol):
    """From raw outputs to a loss, and to probabilities of the values an image can show."""

    num_outputs: int
    measures: bool
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

    def fitted(self, outputs: Tensor, values: Tensor) -> Self:
        """The head with what can only be measured on rows the network was not trained on.

        Args:
            outputs: float (n, num_outputs), of such rows.
            values: int64 (n,), what they show.
        """
        ...

    def unfitted(self) -> Self:
        """The head as it was before anything was measured."""
        ...

    def facts(self) -> dict[str, float]:
        """What `fitted` measured: `create_head` takes it back."""
        ...


class _NothingToMeasure:
    """A head that is complete once its network is trained."""

    measures = False

    def fitted(self, outputs: Tensor, values: Tensor) -> Self:
        """Nothing is left to measure."""
        return self

    def unfitted(self) -> Self:
        """Nothing was measured."""
        return self

    def facts(self) -> dict[str, float]:
        """None."""
        return {}


class Softmax(_NothingToMeasure):
    """K classes, cross-entropy.

    Args:
        num_values: K.
        label_smoothing: share of the probability spread evenly over all classes (Szegedy et al. 2016).
    """

    def __init__(self, num_values: int, label_smoothing: float = 0.0) -> None:
        self.num_outputs = num_values
        self.label_smoothing = label_smoothing

    def loss(self, outputs: Tensor, values: Tensor, digits: Tensor | None = None) -> Tensor:
        """float (B, K) and int64 (B,) -> float scalar, in nats."""
        return functional.cross_entropy(outputs.float(), values, label_smoothing=self.label_smoothing)

    def probabilities(self, outputs: Tensor) -> Tensor:
        """float (B, K) -> float32 (B, K)."""
        return functional.softmax(outputs.float(), dim=1)


class Regression:
    """One number, squared error; a normal distribution cut at the half-integers makes it probabilities.

    The output is the distance from the middle of the values, so that an untrained network starts there.

    Args:
        num_values: K; the values are 0..K-1.
        facts: `width`, the standard deviation of the normal distribution, in values; 1 until it is fitted.
    """

    num_outputs = 1
    measures = True

    def __init__(self, num_values: int, facts: dict[str, float] | None = None) -> None:
        self.num_values = num_values
        self._facts = dict(facts or {})

    def numbers(self, outputs: Tensor) -> Tensor:
        """float (B, 1) -> float32 (B,), the values that are meant."""
        return outputs.float().squeeze(1) + (self.num_values - 1) / 2

    def loss(self, outputs: Tensor, values: Tensor, digits: Tensor | None = None) -> Tensor:
        """float (B, 1) and int64 (B,) -> float scalar, the mean squared error."""
        return functional.mse_loss(self.numbers(outputs), values.float())

    def probabilities(self, outputs: Tensor) -> Tensor:
        """float (B, 1) -> float32 (B, K); the ends take what lies beyond them."""
        return _discretised_normal(self.numbers(outputs), self._facts.get("width", 1.0), self.num_values)

    def fitted(self, outputs: Tensor, values: Tensor) -> Self:
        """Measure the errors, and take the width that makes the true values most probable."""
        from scipy.optimize import minimize_scalar

        numbers = self.numbers(outputs)
        error = (numbers.double() - values).abs()

        def loss(log_width: float) -> float:
            each = _discretised_normal(numbers, math.exp(log_width), self.num_values).double()
            return float(-each.gather(1, values[:, None]).clamp_min(1e-7).log().mean())

        width = minimize_scalar(loss, bounds=(math.log(0.02), math.log(self.num_values)), method="bounded")
        rounded = numbers.round().clamp(0, self.num_values - 1)
        facts = {
            "width": math.exp(width.x),
            "rows": len(values),
            "mse": float(error.square().mean()),
            "mse_standard_error": _standard_error(error.square()),
            "mae": float(error.mean()),
            "mae_standard_error": _standard_error(error),
            "rounded_accuracy": float((rounded == values).double().mean()),
        }
        return type(self)(self.num_values, facts)

    def unfitted(self) -> Self:
        """The head with a width of 1."""
        return type(self)(self.num_values)

    def facts(self) -> dict[str, float]:
        """width; of how many rows, and of their raw numbers: mse, mae, rounded_accuracy (a share)."""
        return dict(self._facts)


def _standard_error(each: Tensor) -> float:
    """Of the mean of n values; not a number where n is 1."""
    return float(each.std()) / math.sqrt(len(each)) if len(each) > 1 else math.nan


def _discretised_normal(means: Tensor, width: float, num_values: int) -> Tensor:
    """Probabilities float32 (B, K) of the integers nearest to a normal variable of these means."""
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


class Digits(_NothingToMeasure):
    """S digit distributions that combine into the distribution of their sum.

    Trained by the negative log-likelihood of the sum alone; rows whose digits are known add the
    cross-entropy of each. Learning digits from sums by summing over all that they could be is the MNIST
    addition of DeepProbLog (Manhaeve et al. 2018). A sum of independent digits has the convolution of
    their distributions, so nothing need be enumerated, nor approximated as in A-NeSI (van Krieken et al.
    2023).

    Args:
        hidden_digits: S.
    """

    def __init__(self, hidden_digits: int) -> None:
        self.hidden_digits = hidden_digits
        self.num_outputs = self.hidden_digits * DIGITS

    def log_probabilities_of_digits(self, outputs: Tensor) -> Tensor:
        """float (B, S * 10) -> float32 (B, S, 10); a sum does not say in which order."""
        return functional.log_softmax(outputs.float().view(-1, self.hidden_digits, DIGITS), dim=2)

    def loss(self, outputs: Tensor, values: Tensor, digits: Tensor | None = None) -> Tensor:
        """float (B, S * 10) and int64 (B,), perhaps int64 (B, S) -> float scalar, in nats."""
        each = self.log_probabilities_of_digits(outputs)
        loss = functional.nll_loss(log_probabilities_of_sum(each), values)
        if digits is None:
            return loss
        named = each.gather(2, digits.clamp_min(0)[..., None]).squeeze(2)
        return loss - (named * (digits >= 0)).sum() / len(values)

    def probabilities(self, outputs: Tensor) -> Tensor:
        """float (B, S * 10) -> float32 (B, K)."""
        return functional.softmax(log_probabilities_of_sum(self.log_probabilities_of_digits(outputs)), dim=1)


def log_probabilities_of_sum(each: Tensor) -> Tensor:
    """The distribution of a sum of independent digits, by exact convolution in log space.

    Args:
        each: float (B, S, 10), the log probabilities of each digit; none may be -inf.

    Returns:
        float (B, 9 S + 1).
    """
    total = each[:, 0]
    for digit in each.unbind(1)[1:]:
        reach = digit.shape[1] - 1
        padded = functional.pad(total, (reach, reach), value=_IMPOSSIBLE)
        ways = padded.unfold(1, reach + 1, 1) + digit.flip(1)[:, None, :]
        total = ways.logsumexp(2)
    return total


class Multilabel(_NothingToMeasure):
    """Which of the ten digits are present, binary cross-entropy; rows whose digits are unknown teach nothing.

    The probability of a value is that of all sets of digits that can make it (naive Bayes: given the
    set, the ten outputs are taken as independent, and all 10^S combinations as equally probable before
    the image is seen).

    Args:
        hidden_digits: S.
    """

    num_outputs = DIGITS

    def __init__(self, hidden_digits: int) -> None:
        self.hidden_digits = hidden_digits
        self._sets, self._log_ways = _sets_of_digits(self.hidden_digits)
        present = 1 - (1 - 1 / DIGITS) ** self.hidden_digits
        self._prior = math.log(present / (1 - present))

    def loss(self, outputs: Tensor, values: Tensor, digits: Tensor | None = None) -> Tensor:
        """float (B, 10) and int64 (B, S) -> float scalar, the mean of a row's ten losses, in nats."""
        if self.hidden_digits == 1:  # the value is the digit
            digits = values[:, None]
        if digits is None:
            raise ValueError("which digits are present cannot be learned from sums alone")
        known = digits[:, 0] >= 0
        present = functional.one_hot(digits.clamp_min(0), DIGITS).amax(1).float()
        each = functional.binary_cross_entropy_with_logits(outputs.float(), present, reduction="none")
        return (each.mean(1) * known).sum() / known.sum().clamp_min(1)

    def probabilities(self, outputs: Tensor) -> Tensor:
        """float (B, 10) -> float32 (B, K)."""
        if self._sets.device != outputs.device:  # they stay there: each copy waits for the device
            self._sets, self._log_ways = self._sets.to(outputs.device), self._log_ways.to(outputs.device)
        evidence = (outputs.float() - self._prior) @ self._sets.T
        return functional.softmax((evidence[:, :, None] + self._log_ways).logsumexp(1), dim=1)


def _sets_of_digits(hidden_digits: int) -> tuple[Tensor, Tensor]:
    """Every set that S digits can form.

    Returns:
        float32 (sets, 10), 1 where a digit is in the set; float32 (sets, K), the log of in how many
        ways S digits form exactly this set and this sum.
    """
    ways = {(0, 0): 1}
    for _ in range(hidden_digits):
        longer = dict[tuple[int, int], int]()
        for (members, total), count in ways.items():
            for digit in range(DIGITS):
                key = (members | 1 << digit, total + digit)
                longer[key] = longer.get(key, 0) + count
        ways = longer
    sets = sorted({members for members, _ in ways})
    log_ways = torch.full((len(sets), LARGEST_DIGIT * hidden_digits + 1), _IMPOSSIBLE)
    for (members, total), count in ways.items():
        log_ways[sets.index(members), total] = math.log(count)
    return torch.tensor([[members >> d & 1 for d in range(DIGITS)] for members in sets]).float(), log_ways


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


HEADS: dict[str, Callable[[HeadSpec], Head]] = {
    "softmax": lambda spec: Softmax(spec.num_values, spec.label_smoothing),
    "regression": lambda spec: Regression(spec.num_values, spec.facts),
    "digits": lambda spec: Digits(spec.digits()),
    "multilabel": lambda spec: Multilabel(spec.digits()),
}


def create_head(name: str, spec: HeadSpec) -> Head:
    """The head of that name.

    Raises:
        ValueError: a head of digits, and K is not 9 S + 1.
    """
    return HEADS[name](spec)
