"""Draws one photograph under every key of `augment`, for docs/augmentation.md.

python scripts/augmentation_sheet.py [docs/augmentations.jpg]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import Tensor
from torchvision.transforms.v2.functional import resize

from softvote.config.augment import Augment
from softvote.reporting.plots import image_grid
from softvote.training.augment import create_augmenter
from softvote.training.mixing import Mixing

COLUMNS, SIDE = 6, 96

ROWS: list[dict[str, Any]] = [
    {"random_resized_crop": {}}, {"rotate": 20, "shear": 10}, {"vertical_flip": 0.5},
    {"quarter_turns": True}, {"trivial_augment": True}, {"rand_augment": {}}, {"brightness": 0.4},
    {"contrast": 0.6}, {"saturation": 0.8}, {"hue": 0.2}, {"grayscale": 0.5}, {"blur": 3.0}, {"erasing": 1.0},
    {"albumentations": ["RandomFog", "RandomRain"]},
]  # fmt: skip


def main() -> None:
    """Draw it."""
    path = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/augmentations.jpg")
    flower, china = (_square(load_sample_image(name)) for name in ("flower.jpg", "china.jpg"))
    images, numbers = flower.expand(COLUMNS, -1, -1, -1), np.arange(COLUMNS)
    shown, titles = list[Any](), list[list[str]]()
    for keys in ROWS:
        spec = Augment.model_validate(keys)
        found = create_augmenter(spec)(images, numbers, 0)
        shown.append(_with_original(flower, found))
        titles.append([_in_lines(keys), *[""] * COLUMNS])
    pairs = torch.cat([flower, china]).repeat(COLUMNS // 2, 1, 1, 1).float()
    for mixing in (Mixing("mixup", 0.7), Mixing("cutmix", 0.7)):
        shown.append(_with_original(flower, mixing.mix(pairs, numbers, 0)[0]))
        titles.append([f"\n{mixing.kind}", *[""] * COLUMNS])
    with tempfile.TemporaryDirectory() as folder:
        drawn = Path(folder) / "sheet.png"
        image_grid(drawn, shown, titles, "One photograph, and what each key makes of it")
        with Image.open(drawn) as sheet:  # a page need not load megabytes
            sheet.convert("RGB").save(path, quality=88)


def _in_lines(keys: dict[str, Any]) -> str:
    """Keys and their amounts in two lines, as narrow as a photograph."""
    words = [name if value is True or value == {} else f"{name} {value}" for name, value in keys.items()]
    text = "\n".join(words[:2]) if "albumentations" not in keys else "\n".join(keys["albumentations"])
    return text if "\n" in text else text.replace("m_r", "m_\nr") if "m_r" in text else f"\n{text}"


def _square(photograph: Any) -> Tensor:
    """uint8 (1, 3, SIDE, SIDE), the middle of a photograph (H, W, 3)."""
    height, width, _ = photograph.shape
    left = (width - height) // 2
    middle = torch.from_numpy(photograph[:, left : left + height].copy()).permute(2, 0, 1)[None]
    return resize(middle, [SIDE, SIDE], antialias=True)


def _with_original(original: Tensor, images: Tensor) -> Any:
    return torch.cat([original, images.round().clamp(0, 255).byte()]).numpy()


if __name__ == "__main__":
    main()
