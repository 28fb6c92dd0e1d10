"""Folds as a training leaves them, with weights as they were drawn: what prediction needs, at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from softvote.config.recipe import Member
from softvote.inference.network import create_network
from softvote.storage.files import write_json
from softvote.storage.fingerprints import sha256_of
from softvote.storage.paths import FoldFolder
from softvote.task import Task

EXECUTION = {"device": "cpu", "precision": "fp32", "memory_format": "contiguous"}


def write_fold(
    path: Path,
    member: dict[str, Any],
    image: tuple[int, int, int] = (1, 8, 8),
    task: Task | None = None,
    seed: int = 0,
    **facts: Any,
) -> FoldFolder:
    """Weights and recipe of a network for ten classes or a task; `facts` go over the recipe's."""
    task = task or Task(10)
    torch.manual_seed(seed)
    network = create_network(Member.model_validate(member), task, image, with_weights=False)
    folder = FoldFolder(path)
    path.mkdir(parents=True)
    save_file({name: value.clone() for name, value in network.model.state_dict().items()}, folder.weights)
    recipe = {
        "member": Member.model_validate(member).model_dump(mode="json"),
        "classes": [str(label) for label in range(task.num_classes)],
        "hidden_digits": task.hidden_digits,
        "addend": task.addend,
        "image": list(image),
        "mean": [40.0 + 10 * channel for channel in range(image[0])],
        "std": [70.0] * image[0],
        "execution": EXECUTION,
        "weights_sha256": sha256_of(folder.weights),
    }
    write_json(folder.recipe, recipe | facts)
    return folder
