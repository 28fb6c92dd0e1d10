"""What every head does, and what is known when one is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, TypeVar

from softvote.config.entries import LossConfig
from softvote.config.registry import Registry
from softvote.heads.losses.cross_entropy import CrossEntropy
from softvote.task import LARGEST_DIGIT, TaskKind

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor


Reduction = Literal["mean", "none"]


class Head(Protocol):
    """From raw outputs to a loss, and to probabilities of the values an image can show."""

    num_outputs: int
    needs_calibration: bool
    """Whether something is left to measure on rows the network was not trained on."""

    def loss(
        self, outputs: Tensor, values: Tensor, digits: Tensor | None = None, reduction: Reduction = "mean"
    ) -> Tensor:
        """How wrong the outputs are.

        Args:
            outputs: float (B, num_outputs).
            values: int64 (B,), 0..K-1; of tags (B, K) of 0 and 1, of targets (B, T).
            digits: int64 (B, S), the hidden digits 0..9; -1 throughout a row where they are not known.
            reduction: as torch's losses have it.

        Returns:
            float scalar, the mean per row; float (B,) where that is not reduced.
        """
        ...

    def probabilities(self, outputs: Tensor) -> Tensor:
        """float (B, num_outputs) -> float32 (B, K), rows that sum to 1 as the task has it."""
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

    def calibration(self) -> dict[str, float]:
        """What `calibrate` measured: `create_head` takes it back."""
        ...


class TeachableHead(Head, Protocol):
    """A head whose probabilities can be drawn to those of others."""

    def soft_loss(self, outputs: Tensor, wanted: Tensor, temperature: float) -> Tensor:
        """How far the head's probabilities are from wanted ones (Hinton, Vinyals and Dean 2015).

        Args:
            outputs: float (B, num_outputs).
            wanted: float (B, K), probabilities.
            temperature: by which logits on both sides are divided.

        Returns:
            float32 (B,), cross-entropies in nats times the temperature's square, so that gradients stay as
            large; the mean of a row's tags or targets.
        """
        ...


@dataclass(frozen=True)
class HeadKind:
    """What a head asks of labels and recipe, known without torch, and how one is made.

    Attributes:
        create: raises ValueError where the specification does not fit.
        kinds: of tasks that it is for.
        default_of: the kind of task that has it where a recipe names none.
        once: its name in older files, which stays on disk so that nothing is trained anew; empty without.
        needs_numbers: labels must be numbers, because their distances count.
        needs_hidden_digits: the label must be the sum of hidden digits, whose number is known.
        needs_known_digits: where several digits hide, some rows must say which.
        takes_label_smoothing: whether the loss has a use for it.
        takes_loss: whether another loss and weights of classes mean something.
        takes_teacher: whether it is a `TeachableHead`.
    """

    create: Callable[[HeadSpec], Head]
    kinds: tuple[TaskKind, ...] = ("classes",)
    default_of: TaskKind | None = None
    once: str = ""
    needs_numbers: bool = False
    needs_hidden_digits: bool = False
    needs_known_digits: bool = False
    takes_label_smoothing: bool = False
    takes_loss: bool = False
    takes_teacher: bool = False


HEADS: Registry[HeadKind] = Registry()
"""What is known of every `head`."""


class _Buildable(Protocol):
    @classmethod
    def from_spec(cls, spec: HeadSpec) -> Head: ...


_C = TypeVar("_C", bound=type[_Buildable])


def register_head(name: str, rank: int = 100, **attributes: Any) -> Callable[[_C], _C]:
    """Register a class with `from_spec` as a head.

    Args:
        rank: as for `Registry.add`.
        attributes: those of `HeadKind` that are not its defaults.
    """

    def add(kind: _C) -> _C:
        HEADS.add(name, HeadKind(kind.from_spec, **attributes), rank)
        return kind

    return add


class NeedsNoCalibration:
    """A head that is complete once its network is trained."""

    needs_calibration = False

    def calibrate(self, outputs: Tensor, values: Tensor) -> Self:
        """Nothing is left to measure."""
        return self

    def uncalibrated(self) -> Self:
        """Nothing was measured."""
        return self

    def calibration(self) -> dict[str, float]:
        """None."""
        return {}


_PLAIN = CrossEntropy(name="cross_entropy")


@dataclass(frozen=True)
class HeadSpec:
    """All that any head is made from; each takes what it needs.

    Attributes:
        num_values: K, how many values an image can show.
        hidden_digits: S, where the value is the sum of digits that hide in the image.
        label_smoothing: share of the probability spread over all classes.
        calibration: what such a head once measured.
        target_sizes: K_t of each of several targets.
        loss: what is made small where a head takes one.
        class_weights: float32 (2, K), by which the loss of a row is multiplied where a class or tag is not so
            and where it is; of classes only the latter counts. None weighs all alike.
    """

    num_values: int
    hidden_digits: int | None = None
    label_smoothing: float = 0.0
    calibration: dict[str, float] | None = None
    target_sizes: tuple[int, ...] = ()
    loss: LossConfig = _PLAIN
    class_weights: NDArray[np.float32] | None = None

    def digits(self) -> int:
        """S.

        Raises:
            ValueError: K is not 9 S + 1.
        """
        if self.hidden_digits is None or self.num_values != LARGEST_DIGIT * self.hidden_digits + 1:
            raise ValueError(f"{self.num_values} values are not the sums of {self.hidden_digits} digits")
        return self.hidden_digits
