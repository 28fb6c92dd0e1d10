"""Readers of raw competition files, one module a format.

Adding a format is adding a module with `sources` and `read` (see `Reader`), its class in
`softvote.config.pipeline.Files`, and its line in `READERS`.
"""

from __future__ import annotations

from softvote.data.readers import image_folder, npy, pixel_csv
from softvote.data.readers.base import Reader

READERS: dict[str, Reader] = {"pixel_csv": pixel_csv, "image_folder": image_folder, "npy": npy}
"""The reader of every `competition.files.format`."""
