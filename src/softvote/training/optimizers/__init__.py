"""Optimisers, one file each: the hyperparameters that a pipeline file gives, and torch's optimiser of them.

Adding one is adding a module with a subclass of `OptimizerConfig` under `@register_optimizer`.
"""

from softvote.config.registry import import_modules
from softvote.training.optimizers.base import OPTIMIZERS, register_optimizer

import_modules(__name__)

__all__ = ["OPTIMIZERS", "register_optimizer"]
