"""The digits head: hidden digits, known by their sum alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from softvote.heads.base import HeadSpec, NeedsNoCalibration, Reduction, register_head
from softvote.heads.soft_targets import soft_cross_entropy
from softvote.task import LARGEST_DIGIT

if TYPE_CHECKING:
    from torch import Tensor

DIGITS = LARGEST_DIGIT + 1
"""Values of one hidden digit."""


IMPOSSIBLE = -1e30  # for the log of zero: differences of it are numbers, those of -inf are not


@register_head("digits", rank=2, needs_hidden_digits=True, takes_teacher=True)
class DigitsHead(NeedsNoCalibration):
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

    @classmethod
    def from_spec(cls, spec: HeadSpec) -> Self:
        """Build the head of a specification."""
        return cls(spec.digits())

    def log_probabilities_of_digits(self, outputs: Tensor) -> Tensor:
        """float (B, S * 10) -> float32 (B, S, 10); a sum does not say in which order."""
        from torch.nn import functional

        return functional.log_softmax(outputs.float().view(-1, self.hidden_digits, DIGITS), dim=2)

    def loss(
        self, outputs: Tensor, values: Tensor, digits: Tensor | None = None, reduction: Reduction = "mean"
    ) -> Tensor:
        """float (B, S * 10) and int64 (B,), perhaps int64 (B, S) -> float scalar, in nats."""
        from torch.nn import functional

        each = self.log_probabilities_of_digits(outputs)
        loss = functional.nll_loss(log_probabilities_of_sum(each), values, reduction=reduction)
        if digits is None:
            return loss
        named = each.gather(2, digits.clamp_min(0)[..., None]).squeeze(2) * (digits >= 0)
        return loss - (named.sum() / len(values) if reduction == "mean" else named.sum(1))

    def soft_loss(self, outputs: Tensor, wanted: Tensor, temperature: float) -> Tensor:
        """float (B, S * 10) and (B, K) -> float32 (B,), of the sum, in nats."""
        each = self.log_probabilities_of_digits(outputs)
        return soft_cross_entropy(log_probabilities_of_sum(each), wanted, temperature)

    def probabilities(self, outputs: Tensor) -> Tensor:
        """float (B, S * 10) -> float32 (B, K)."""
        from torch.nn import functional

        return functional.softmax(log_probabilities_of_sum(self.log_probabilities_of_digits(outputs)), dim=1)


def log_probabilities_of_sum(each: Tensor) -> Tensor:
    """The distribution of a sum of independent digits, by exact convolution in log space.

    Args:
        each: float (B, S, 10), the log probabilities of each digit; none may be -inf.

    Returns:
        float (B, 9 S + 1).
    """
    from torch.nn import functional

    total = each[:, 0]
    for digit in each.unbind(1)[1:]:
        reach = digit.shape[1] - 1
        padded = functional.pad(total, (reach, reach), value=IMPOSSIBLE)
        ways = padded.unfold(1, reach + 1, 1) + digit.flip(1)[:, None, :]
        total = ways.logsumexp(2)
    return total
