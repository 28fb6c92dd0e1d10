"""Heads: what a network's raw output means, how it is trained, and how it becomes probabilities.

A head speaks of what the image shows: K values, numbered from 0. Where the value is the sum of S
hidden digits, K is 9 S + 1. What comes along with an image (an addend) is no business of a head; see
`softvote.inference.network`.

Adding a head is adding one class, and its name to `HEADS`.
"""

from __future__ import annotations

from collections.abc import Callable

from softvote.heads.base import Head, HeadSpec
from softvote.heads.digits import DigitsHead
from softvote.heads.multilabel import MultilabelHead
from softvote.heads.regression import RegressionHead
from softvote.heads.softmax import SoftmaxHead

HEADS: dict[str, Callable[[HeadSpec], Head]] = {
    "softmax": lambda spec: SoftmaxHead(spec.num_values, spec.label_smoothing),
    "regression": lambda spec: RegressionHead(spec.num_values, spec.facts),
    "digits": lambda spec: DigitsHead(spec.digits()),
    "multilabel": lambda spec: MultilabelHead(spec.digits()),
}


def create_head(name: str, spec: HeadSpec) -> Head:
    """The head of that name.

    Raises:
        ValueError: a head of digits, and K is not 9 S + 1.
    """
    return HEADS[name](spec)
