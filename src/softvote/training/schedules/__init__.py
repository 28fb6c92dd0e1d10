"""Schedules of the learning rate, one file each: what a pipeline file may say, and how torch builds it.

Adding one is adding a module with a subclass of `ScheduleConfig` under `@register_schedule`.
"""

from softvote.config.registry import import_modules
from softvote.training.schedules.base import SCHEDULES, register_schedule

import_modules(__name__)

__all__ = ["SCHEDULES", "register_schedule"]
