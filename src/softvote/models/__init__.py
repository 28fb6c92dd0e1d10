"""The networks: ours and every timm backbone, by one name each, through timm's registry.

A network of ours is one module in this folder with a function under `timm.models.register_model`
that takes `num_classes`, `in_chans` and `img_size`; it needs no entry anywhere else.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import timm
import torch
from torch import nn

from softvote.errors import UserError, one_of

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")


def own_models() -> list[str]:
    """Names of the networks in this folder, sorted."""
    return sorted(
        name for name in timm.list_models() if timm.model_entrypoint(name).__module__.startswith(__name__)
    )


def create_model(
    name: str, num_outputs: int, in_chans: int, img_size: tuple[int, int], args: dict[str, Any] | None = None
) -> nn.Module:
    """Build a network and see one pair of blank images through it.

    Args:
        name: a network of ours or any timm backbone.
        num_outputs: width of the output.
        in_chans: channels of the images.
        img_size: their height and width in pixels.
        args: further arguments of the network, as timm names them (`pretrained`, `drop_rate`, ...).

    Returns:
        a module, float (B, in_chans, H, W) -> float (B, num_outputs).

    Raises:
        UserError: no such network, an argument it does not take, weights that cannot be had, or
            images it cannot take.
    """
    args = dict(args or {})
    if not timm.is_model(name.split(".")[0]):
        raise UserError(f"model '{name}': {one_of(own_models(), name)}; or any name of timm.list_models()")
    if name in own_models():
        args.setdefault("img_size", img_size)
    try:
        model: nn.Module = timm.create_model(name, num_classes=num_outputs, in_chans=in_chans, **args)
    except UserError as error:
        raise UserError(f"model {name}: {error}") from None
    except Exception as error:
        # timm's builders raise whatever their layers or the hub raise; all of it is the user's choice.
        raise UserError(f"model {name}: cannot be built with {args}: {_first_line(error)}") from None
    _see_blank_images_through(model, name, num_outputs, (in_chans, *img_size))
    return model


def _see_blank_images_through(
    model: nn.Module, name: str, num_outputs: int, shape: tuple[int, int, int]
) -> None:
    model.eval()
    try:
        with torch.no_grad():
            outputs = model(torch.zeros(2, *shape))
    except Exception as error:
        raise UserError(f"model {name}: cannot take images of {shape}: {_first_line(error)}") from None
    if tuple(outputs.shape) != (2, num_outputs):
        raise UserError(f"model {name}: gives {tuple(outputs.shape)} for two images, not (2, {num_outputs})")
    model.train()


def count_parameters(model: nn.Module) -> int:
    """How many trainable values a network has."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
