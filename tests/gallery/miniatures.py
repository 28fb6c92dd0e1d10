"""All twenty-five miniatures: every module of makers registers its own."""

import pytest
from gallery import arrays, medical, photographs
from gallery.download import MAKERS, Miniature, make

__all__ = ["MAKERS", "SOME_SOON", "Miniature", "arrays", "make", "medical", "photographs"]

# Different in layout, task and form, and quickly made; the others are of the slow tests.
_SOON = {
    "aerial-cactus-identification", "cassava-leaf-disease-classification", "cifar-10",
    "diabetic-retinopathy-detection", "digit-recognizer", "dogs-vs-cats-redux-kernels-edition",
    "humpback-whale-identification", "isic-2024-challenge", "plant-pathology-2021-fgvc8",
    "rsna-intracranial-hemorrhage-detection", "state-farm-distracted-driver-detection",
}  # fmt: skip
SOME_SOON = [pytest.param(slug, marks=() if slug in _SOON else pytest.mark.slow) for slug in sorted(MAKERS)]
