"""Decisions, one file each: how probabilities become what is submitted, so that the metric is best.

Adding one is adding a module with a subclass of `Decision` under `@register_decision`.
"""

from __future__ import annotations

from softvote.config.entries import DecisionConfig, MetricConfig
from softvote.config.registry import import_modules
from softvote.ensembling.decisions.base import DECISIONS, Decision, register_decision
from softvote.task import LabelSpace

__all__ = ["DECISIONS", "Decision", "register_decision", "resolve_decision"]

import_modules(__name__)


def resolve_decision(config: DecisionConfig | None, metric: MetricConfig, space: LabelSpace) -> Decision:
    """The decision that a pipeline file names, or the first that suits the metric.

    Args:
        config: None for `auto`.
    """
    if config is None:
        name = next(name for name, kind in DECISIONS.items() if kind.suits(metric, space))
        config = DECISIONS[name](name=name)
    assert isinstance(config, Decision)
    return config.for_metric(metric)
