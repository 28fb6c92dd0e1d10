"""softvote: from raw competition files to a checked submission with an honest score."""

__version__ = "0.1.0"
