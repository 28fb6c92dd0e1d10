"""All readers of raw competition files, one module per layout.

Adding one is adding a module here that adds its `Reader` to `READERS`.
"""

from softvote.config.registry import import_modules
from softvote.data.readers.base import READERS

__all__ = ["READERS"]

import_modules(__package__)
