"""The recipe `init` writes to start from: small networks for small images, published ones for photographs.

Networks published for 224 pixels halve an image five times, so an image of 64 pixels would end in two by two
features, or be enlarged beyond all that it shows. Up to there networks are trained from nothing, and so is
whatever has not three colours. What timm knows of a network says which size and levels its weights are used
to.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from typing import Any

import yaml

SMALL = 64
"""Images up to this side do without a deep backbone."""


LIGHT = "tf_efficientnet_lite0.in1k"
"""A network of 4.7 million parameters, which a processor can fine-tune."""


STRONG = "convnext_tiny.in12k_ft_in1k"
"""One of 28.6 million for a GPU, used to images of the same size."""


@dataclass(frozen=True)
class FirstRecipe:
    """What members there are at first, and how they are trained.

    Attributes:
        defaults: of all members.
        members: by their names.
        image: keys of `competition.image` that the networks ask for.
        notes: what was chosen and why, a line each.
        further: YAML in comments, for the end of the file.
    """

    defaults: dict[str, Any]
    members: dict[str, Any]
    image: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    further: str = ""


def propose_recipe(height: int, width: int, channels: int, resizable: bool) -> FirstRecipe:
    """Choose networks and a recipe for images of a size.

    Args:
        resizable: whether images may be brought to the size that a network is used to.
    """
    if channels != 3 or max(height, width) <= SMALL:
        second = "resnet5" if max(height, width) <= SMALL else "resnet18"
        members = {"cnn": {"model": "cnn"}, second: {"model": second}}
        return FirstRecipe(_from_nothing(min(height, width)), members)
    return _fine_tuned(height, width, resizable)


def _from_nothing(side: int) -> dict[str, Any]:
    """A short schedule with mild augmentation; strong augmentation needs thirty epochs and more."""
    return {
        "epochs": 12,
        "augment": {"rotate": 10, "scale": 0.1, "shear": 6, "shift": max(1, round(side / 14))},
        "no_aug_epochs": 1,
    }


def _fine_tuned(height: int, width: int, resizable: bool) -> FirstRecipe:
    from timm import get_pretrained_cfg  # which takes its time

    config = get_pretrained_cfg(LIGHT)
    assert config is not None, "a network that timm has published"
    if resizable:
        _, height, width = config.input_size
    light = {"model": LIGHT, "model_args": {"pretrained": True}}
    strong = {"model": STRONG, "model_args": {"pretrained": True}, "layer_decay": 0.8}
    strong |= {"optimizer": {"name": "adamw", "lr": 0.0003, "weight_decay": 0.05}}
    mean, std = (", ".join(f"{level:g}" for level in levels) for levels in (config.mean, config.std))
    notes = (
        f"photographs: light starts from the published weights {LIGHT}, on {height} x {width} pixels, "
        f"mean {mean} and deviation {std} of 1",
    )
    return FirstRecipe(
        _fine_tuning(min(height, width)),
        {"light": light},
        {"height": height, "width": width, **({"resize": True} if resizable else {})},
        notes,
        _in_comments({"strong": strong}),
    )


def _fine_tuning(side: int) -> dict[str, Any]:
    """Small steps, smaller ones for the layers that see edges and colours, and an average of the weights."""
    return {
        "epochs": 10,
        "batch_size": 32,
        "optimizer": {"name": "adamw", "lr": 0.001, "weight_decay": 0.05},
        "schedule": {"name": "cosine", "warmup": 0.1},
        "layer_decay": 0.9,
        "decay_norms": False,
        "clip_grad": 1.0,
        "ema": 0.998,
        "normalise": "pretrained",
        "augment": {"rotate": 15, "scale": 0.15, "shift": round(side / 18), "horizontal_flip": 0.5},
        "no_aug_epochs": 1,
    }


def _in_comments(members: dict[str, Any]) -> str:
    text = yaml.safe_dump(members, sort_keys=False, default_flow_style=None, width=100)
    opening = "# A stronger member, for a GPU, to vote beside light or in its place:\n"
    return opening + textwrap.indent(text, "#  ")
