"""Where a network looks, by the gradient of its answer: HiResCAM (Draelos and Carin 2020).

It is Grad-CAM (Selvaraju et al. 2017) but that each place of a map has a gradient of its own. Where a network
averages its maps the two are the same; where it flattens them, Grad-CAM mixes up places that mean different
things.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from softvote.inference.predictor import Predictor
from softvote.inference.views import apply_view
from softvote.reporting.report.section import LeftOutError

_FEWEST_PLACES = 4  # along each side of a map; fewer say nothing of where
_SIDE = 64  # pixels that a map is drawn on at least


def class_activation_maps(
    predictor: Predictor, images: NDArray[np.uint8], answers: NDArray[np.integer]
) -> NDArray[np.float32]:
    """How much each place of an image speaks for an answer.

    Args:
        predictor: of a network whose outputs are logits of classes.
        images: uint8 (N, C, H, W).
        answers: (N,), the output to explain of each image.

    Returns:
        float32 (N, H, W), 0..1 in each image.

    Raises:
        LeftOutError: the network has no feature map in its second half, as a transformer.
    """
    model = predictor.network.model.eval().float()
    seen = predictor.normalisation(apply_view(predictor.view, torch.from_numpy(images).float()))
    seen = seen.to(next(model.parameters()).device)
    if predictor.network.takes_addend:
        raise LeftOutError("its network takes the addend, and explains sums")
    layer = _last_map(model, seen[:1])
    kept: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        kept.append(output)
        return output

    handle = layer.register_forward_hook(keep)
    try:
        with torch.enable_grad():
            outputs = model(seen.requires_grad_())
            chosen = outputs.gather(1, torch.from_numpy(answers).long().to(outputs.device)[:, None]).sum()
            (gradient,) = torch.autograd.grad(chosen, kept[-1])
    finally:
        handle.remove()
    maps = (gradient * kept[-1]).sum(dim=1, keepdim=True).relu()
    maps = nn.functional.interpolate(maps, images.shape[2:], mode="bilinear", align_corners=False)[:, 0]
    highest = maps.flatten(1).amax(dim=1).clamp(min=1e-12)[:, None, None]
    return np.asarray((maps / highest).detach().cpu().numpy(), np.float32)


def _last_map(model: nn.Module, image: Tensor) -> nn.Module:
    """The module that gives the last feature map that tells places apart."""
    order: list[tuple[nn.Module, bool]] = []

    def note(module: nn.Module, _inputs: Any, output: Any) -> None:
        is_map = isinstance(output, Tensor) and output.ndim == 4 and min(output.shape[2:]) >= _FEWEST_PLACES
        order.append((module, is_map))

    handles = [module.register_forward_hook(note) for module in model.modules()]
    try:
        with torch.no_grad():
            model(image)
    finally:
        for handle in handles:
            handle.remove()
    places = [place for place, (_, is_map) in enumerate(order) if is_map]
    if not places or places[-1] < len(order) / 2:
        raise LeftOutError("the network has no feature map in its second half that tells places apart")
    return order[places[-1]][0]


def overlay(image: NDArray[np.uint8], seen: NDArray[np.float32]) -> NDArray[np.uint8]:
    """An image with a map over it, in colours.

    Args:
        image: uint8 (C, H, W), of one channel or three.
        seen: float32 (H, W), 0..1.

    Returns:
        uint8 (3, H', W'), enlarged where the image is small.
    """
    from matplotlib import colormaps
    from PIL import Image

    grey = image.mean(axis=0) if image.shape[0] == 3 else image[0].astype(np.float64)
    factor = max(1, -(-_SIDE // max(grey.shape)))
    size = (grey.shape[1] * factor, grey.shape[0] * factor)
    large = np.asarray(Image.fromarray(grey.astype(np.uint8)).resize(size, Image.Resampling.NEAREST))
    smooth = np.asarray(Image.fromarray(seen).resize(size, Image.Resampling.BICUBIC)).clip(0, 1)
    colours = np.asarray(colormaps["inferno"](smooth))[:, :, :3] * 255
    mixed = 0.45 * large[:, :, None] + 0.55 * colours
    return np.asarray(mixed.round().clip(0, 255), np.uint8).transpose(2, 0, 1)
