"""All twenty-five miniatures: every module of makers registers its own."""

from gallery import arrays, medical, photographs
from gallery.download import MAKERS, Miniature, make

__all__ = ["MAKERS", "Miniature", "arrays", "make", "medical", "photographs"]
