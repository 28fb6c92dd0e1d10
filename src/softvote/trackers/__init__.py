"""Trackers, one file each: where trainings show their curves while they run.

Adding one is adding a module with a subclass of `Tracker` under `@register_tracker`.
"""

from softvote.config.registry import import_modules
from softvote.trackers.base import TRACKERS, register_tracker, require_tracker

import_modules(__name__)

__all__ = ["TRACKERS", "register_tracker", "require_tracker"]
