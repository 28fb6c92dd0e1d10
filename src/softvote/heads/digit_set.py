"""The head of a set of digits: which digits are present."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Self

from softvote.heads.base import HeadSpec, NeedsNoCalibration, Reduction, register_head
from softvote.heads.digits import DIGITS, IMPOSSIBLE
from softvote.task import LARGEST_DIGIT

if TYPE_CHECKING:
    from torch import Tensor


@register_head("digit_set", rank=3, once="multilabel", needs_hidden_digits=True, needs_known_digits=True)
class DigitSetHead(NeedsNoCalibration):
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

    @classmethod
    def from_spec(cls, spec: HeadSpec) -> Self:
        """Build the head of a specification."""
        return cls(spec.digits())

    def loss(
        self, outputs: Tensor, values: Tensor, digits: Tensor | None = None, reduction: Reduction = "mean"
    ) -> Tensor:
        """float (B, 10) and int64 (B,) -> float scalar, the mean of a row's ten losses, in nats.

        Args:
            digits: int64 (B, S), those that hide in each image, -1 where nobody knows them; they may be left
                out where one digit hides.

        Raises:
            ValueError: several hide, and nobody says which.
        """
        from torch.nn import functional

        if self.hidden_digits == 1:  # the value is the digit
            digits = values[:, None]
        if digits is None:
            raise ValueError("which digits are present cannot be learned from sums alone")
        known = digits[:, 0] >= 0
        present = functional.one_hot(digits.clamp_min(0), DIGITS).amax(1).float()
        each = functional.binary_cross_entropy_with_logits(outputs.float(), present, reduction="none")
        rows = each.mean(1) * known
        return rows.sum() / known.sum().clamp_min(1) if reduction == "mean" else rows

    def probabilities(self, outputs: Tensor) -> Tensor:
        """float (B, 10) -> float32 (B, K)."""
        from torch.nn import functional

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
    import torch

    ways = {(0, 0): 1}
    for _ in range(hidden_digits):
        longer = dict[tuple[int, int], int]()
        for (members, total), count in ways.items():
            for digit in range(DIGITS):
                key = (members | 1 << digit, total + digit)
                longer[key] = longer.get(key, 0) + count
        ways = longer
    sets = sorted({members for members, _ in ways})
    log_ways = torch.full((len(sets), LARGEST_DIGIT * hidden_digits + 1), IMPOSSIBLE)
    for (members, total), count in ways.items():
        log_ways[sets.index(members), total] = math.log(count)
    return torch.tensor([[members >> d & 1 for d in range(DIGITS)] for members in sets]).float(), log_ways
