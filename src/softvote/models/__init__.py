"""The networks: ours and every timm backbone, by one name each, through timm's registry.

A network of ours is one module in this folder with a function under `timm.models.register_model`
that takes `num_classes`, `in_chans` and `img_size`; it needs no entry anywhere else. The function must be
annotated with the class it returns: what a class takes is asked before any network is built.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_type_hints

import timm
import torch
from torch import Tensor, nn

from softvote.config.recipe import split_checkpoint_args
from softvote.errors import Problem, UserError, one_of
from softvote.models.published import (
    missing_layers,
    published_files,
    published_levels,
    published_weights,
    start_from,
)
from softvote.progress import note

__all__ = [
    "classifier_prefixes", "count_parameters", "create_model", "describe_models", "freeze_backbone",
    "load_backbone", "load_strict", "own_models", "published_files", "published_levels", "published_weights",
    "takes_addend", "timm_models", "without_published_weights",
]  # fmt: skip

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")


def own_models() -> list[str]:
    """Names of the networks in this folder, sorted."""
    return sorted(
        name for name in timm.list_models() if timm.model_entrypoint(name).__module__.startswith(__name__)
    )


def timm_models() -> list[str]:
    """Names of the backbones that come with timm, sorted."""
    return sorted(set(timm.list_models()) - set(own_models()))


def describe_models(
    num_outputs: int = 10, in_chans: int = 1, img_size: tuple[int, int] = (28, 28)
) -> list[tuple[str, int | None, str]]:
    """Build each network of this folder and say what it is.

    Returns:
        name, number of trainable values or None where it cannot take such images, and the first line of its
        module.
    """
    return [
        (name, _parameters_of(name, num_outputs, in_chans, img_size), _first_line_of(name))
        for name in own_models()
    ]


def _parameters_of(name: str, num_outputs: int, in_chans: int, img_size: tuple[int, int]) -> int | None:
    try:
        return count_parameters(create_model(name, num_outputs, in_chans, img_size))
    except UserError:
        return None


def _first_line_of(name: str) -> str:
    module = sys.modules[timm.model_entrypoint(name).__module__]
    return (inspect.getdoc(module) or "").partition("\n")[0]


def create_model(
    name: str,
    num_outputs: int,
    in_chans: int,
    img_size: tuple[int, int],
    args: dict[str, Any] | None = None,
    weights_folder: Path | None = None,
) -> nn.Module:
    """Build a network and see one pair of blank images through it.

    Args:
        name: a network of ours or any timm backbone.
        num_outputs: width of the output.
        in_chans: channels of the images.
        img_size: their height and width in pixels.
        args: further arguments of the network, as timm names them (`pretrained`, `drop_rate`, ...).
        weights_folder: where files of published weights are looked for before the hub is asked.

    Returns:
        a module, float (B, in_chans, H, W) -> float (B, num_outputs).

    Raises:
        UserError: no such network, an argument it does not take, weights that cannot be had, or
            images it cannot take.
    """
    args = dict(args or {})
    if not timm.is_model(name.split(".")[0]):
        raise UserError.at(f"model '{name}'", one_of(own_models(), name), "or any name of timm.list_models()")
    if name in own_models():
        args.setdefault("img_size", img_size)
    try:
        if weights := published_weights(name, args, weights_folder):
            file = weights.fetch()
            args = start_from(name, args, file)
        with missing_layers() as missing:
            model: nn.Module = timm.create_model(name, num_classes=num_outputs, in_chans=in_chans, **args)
        if weights:
            _refuse_other_weights(model, missing, file)
    except UserError as error:
        raise error.within(f"model {name}") from None
    except Exception as error:
        # timm's builders raise whatever their layers or the hub raise; all of it is the user's choice.
        raise UserError.at(f"model {name}", f"cannot be built with {args}: {_first_line(error)}") from None
    kind = _class_of(name)
    assert kind in (None, type(model)), f"def {name}() -> {type(model).__name__}: annotate it so, not {kind}"
    _see_blank_images_through(model, name, num_outputs, (in_chans, *img_size))
    return model


def _refuse_other_weights(model: nn.Module, missing: Sequence[str], file: Path) -> None:
    """Refuse a file that has less than half of the backbone's layers: timm leaves the others at random."""
    prefixes = classifier_prefixes(model)
    names = [name for name, _ in model.named_parameters() if not name.startswith(prefixes)]
    lacking = sorted({*names} & {*missing})
    if not lacking:
        return
    lacks = f"{file} lacks {len(lacking)} of {len(names)} layers, such as {lacking[0]}"
    if len(lacking) > len(names) / 2:
        raise UserError(Problem("", lacks, "put the file of this network there"))
    note(f"{lacks}; they start at random")


def _see_blank_images_through(
    model: nn.Module, name: str, num_outputs: int, shape: tuple[int, int, int]
) -> None:
    model.eval()
    try:
        with torch.no_grad():
            outputs = model(torch.zeros(2, *shape))
    except Exception as error:
        raise UserError.at(f"model {name}", f"cannot take images of {shape}: {_first_line(error)}") from None
    if tuple(outputs.shape) != (2, num_outputs):
        raise UserError.at(
            f"model {name}", f"gives {tuple(outputs.shape)} for two images, not (2, {num_outputs})"
        )
    model.train()


def takes_addend(model: nn.Module | str) -> bool:
    """Whether a network, or the one of that name, is called with images and addends int64 (B,)."""
    kind = type(model) if isinstance(model, nn.Module) else _class_of(model)
    return bool(getattr(kind, "takes_addend", False))


def _class_of(name: str) -> type | None:
    """The class that a network of ours is built as, by what its registered function says it returns."""
    return get_type_hints(timm.model_entrypoint(name)).get("return", object) if name in own_models() else None


def without_published_weights(args: dict[str, Any]) -> dict[str, Any]:
    """A network's arguments without those that fetch weights from the hub or a file."""
    return split_checkpoint_args(args)[0] | {"pretrained": False}


def load_backbone(model: nn.Module, weights: dict[str, Tensor]) -> None:
    """Start a network from another's weights: the backbone's, and the classifier's where all of it fits.

    The backbone is all that is not the classifier. Another network may also be a backbone as a whole.

    Args:
        weights: the other network's state: tensors of any shape by the names of `state_dict`.

    Raises:
        UserError: the backbones differ; the first layers that do are named.
    """
    state, prefixes = model.state_dict(), classifier_prefixes(model)
    backbone = {name: value for name, value in state.items() if not name.startswith(prefixes)}
    nested = {f"features.{name}": value for name, value in weights.items()}
    source = nested if backbone and backbone.keys() <= nested.keys() else weights
    differ = [_difference(name, value, source) for name, value in backbone.items()]
    problems = [text for text in differ if text]
    if problems:
        raise UserError.at(
            "init_from", f"its weights do not fit: {'; '.join(problems[:3])}", "use a similar network"
        )
    rest = state.keys() - backbone.keys()
    whole = all(_difference(name, state[name], source) is None for name in rest)
    names = state if whole else backbone
    model.load_state_dict({name: source[name] for name in names}, strict=False)


def load_strict(model: nn.Module, weights: dict[str, Tensor]) -> None:
    """Give a network the state of one that is built alike.

    Args:
        weights: that state: tensors by the names of `state_dict`, each in the shape that the network has.

    Raises:
        UserError: it is not; the first layers that differ are named.
    """
    state = model.state_dict()
    differ = [_difference(name, value, weights) for name, value in state.items()]
    problems = [text for text in differ if text]
    problems += [f"{name} is one layer too many" for name in weights if name not in state]
    if problems:
        raise UserError("; ".join(problems[:3]))
    model.load_state_dict(weights)


def _difference(name: str, value: Tensor, source: dict[str, Tensor]) -> str | None:
    """Why a layer's weights cannot be taken over."""
    if name not in source:
        return f"{name} is not there"
    if source[name].shape != value.shape:
        return f"{name} is {tuple(source[name].shape)}, expected {tuple(value.shape)}"
    return None


def classifier_prefixes(model: nn.Module) -> tuple[str, ...]:
    """What the names of the classifier's weights begin with; timm's distilled networks have two."""
    config = getattr(model, "default_cfg", None) or getattr(model, "pretrained_cfg", None) or {}
    names = config.get("classifier", "classifier")
    return tuple(f"{name}." for name in ([names] if isinstance(names, str) else names or []))


def freeze_backbone(model: nn.Module) -> None:
    """Let the classifier alone learn: the backbone takes no gradient and behaves as in evaluation.

    Raises:
        UserError: it has no classifier, or one without weights.
    """
    prefixes = classifier_prefixes(model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(prefixes))
    if not count_parameters(model):
        raise UserError.at("freeze", "leaves nothing to learn", "leave it out")
    for name, module in model.named_modules():
        if not f"{name}.".startswith(prefixes):
            module.training = False


def count_parameters(model: nn.Module) -> int:
    """How many trainable values a network has."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
