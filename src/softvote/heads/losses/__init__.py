"""Losses: how wrong probabilities of classes and of tags are.

Adding a loss is adding one module with one class under `@register_loss`.
"""

from __future__ import annotations

from softvote.config.registry import import_modules
from softvote.heads.losses.base import LOSSES

__all__ = ["LOSSES"]

import_modules(__name__)
