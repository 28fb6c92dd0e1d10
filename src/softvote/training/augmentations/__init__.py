"""Changes to training images beyond movements, a family of keys a file: what `augment` may say.

Adding one is adding a module with a subclass of `AugmentationConfig` under `@register_augmentation`. Its
tensors are of whole batches; every random number of an image depends on the seed and its row alone.
"""

from softvote.config.registry import import_modules
from softvote.training.augmentations.base import AUGMENTATIONS, register_augmentation

import_modules(__name__)

__all__ = ["AUGMENTATIONS", "register_augmentation"]
