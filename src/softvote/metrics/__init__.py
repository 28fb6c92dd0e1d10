"""Metrics, one file each, and the standard errors of scores.

Adding one is adding a module with a subclass of `Metric` under `@register_metric`: a `value` is enough, and
is bootstrapped slowly; a mean over rows (`rows`), a function of counts (`CountMetric`) or of a ranking
(`RankingMetric`) is bootstrapped quickly. It imports scikit-learn where it computes: a pipeline file is read
without.
"""

from softvote.config.registry import import_modules
from softvote.metrics.base import (
    METRICS,
    Labels,
    Metric,
    PredictedArray,
    as_metric,
    parse_metric,
    register_metric,
)

__all__ = ["METRICS", "Labels", "Metric", "PredictedArray", "as_metric", "parse_metric", "register_metric"]

import_modules(__name__)
