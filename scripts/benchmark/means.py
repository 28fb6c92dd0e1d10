"""Means and their standard errors."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from benchmark.cases import Facts


def summary(each: list[float]) -> Facts:
    """Two numbers or more, their mean and its standard error."""
    error = statistics.stdev(each) / math.sqrt(len(each))
    return {"each": each, "mean": statistics.fmean(each), "standard_error": error}


def divide_each(above: Sequence[float], below: Sequence[float]) -> list[float]:
    return [a / b for a, b in zip(above, below, strict=True)]


def format_mean(of: Facts, decimals: int) -> str:
    return f"{of['mean']:,.{decimals}f} ± {of['standard_error']:,.{decimals}f}"
