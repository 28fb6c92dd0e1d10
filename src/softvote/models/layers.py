"""What the networks share.

Where max pooling and a ReLU are neighbours, pooling stands first: the two commute, so the function is the
same, and the ReLU then works on a quarter of the values.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from softvote.errors import Problem, UserError
from softvote.ops import fused_ops

ImageSize = tuple[int, int]

# What timm's create_model may pass on to any network and ours have no use for.
_TIMM_EXTRAS = ("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir")


def reject_pretrained(pretrained: bool, kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a network that has no published weights.

    Raises:
        UserError: pretrained weights were asked for.
    """
    if pretrained:
        raise UserError(Problem("", "has no pretrained weights", "leave pretrained out"))
    return {key: value for key, value in kwargs.items() if key not in _TIMM_EXTRAS}


def output_shape(features: nn.Module, in_chans: int, img_size: ImageSize) -> tuple[int, ...]:
    """The shape of what `features` gives for one image, without the batch.

    Raises:
        UserError: the image is too small to come through the layers.
    """
    training = features.training
    try:
        with torch.no_grad():
            return tuple(features.eval()(torch.zeros(1, in_chans, *img_size)).shape[1:])
    except RuntimeError:
        height, width = img_size
        raise UserError(f"images of {height} x {width} are too small for this network") from None
    finally:
        features.train(training)


def flat_features(features: nn.Module, in_chans: int, img_size: ImageSize) -> int:
    """How many values `features` (which ends flattened) gives for one image; errors as `output_shape`."""
    (count,) = output_shape(features, in_chans, img_size)
    return count


class FeaturesThenClassifier(nn.Module):
    """Features that end flattened, and a classifier on them."""

    features: nn.Module
    classifier: nn.Module

    def forward(self, images: Tensor) -> Tensor:
        """float (B, in_chans, H, W) -> float (B, num_classes)."""
        logits: Tensor = self.classifier(self.features(images))
        return logits


def add_relu(features: Tensor, norm: nn.Module, shortcut: Tensor) -> Tensor:
    """relu(norm(features) + shortcut), float (B, C, H, W)."""
    if fused_ops.can_fuse(features, norm):
        return fused_ops.norm_pool_relu(features, norm, shortcut=shortcut)
    return functional.relu(norm(features) + shortcut, inplace=True)


class FusedSequential(nn.Sequential):
    """Layers one after the other; neighbours that are batch norm, max pooling by 2 and ReLU go in one.

    Hooks on layers that go in one are not called.
    """

    def forward(self, features: Tensor) -> Tensor:
        """float (B, C, H, W) -> what the last layer gives."""
        return forward_fused(self, features)


def forward_fused(layers: Iterable[nn.Module], features: Tensor) -> Tensor:
    """What the last of the layers gives, as `FusedSequential` does it; float (B, C, H, W) to begin with."""
    layers = [layer for layer in layers if not isinstance(layer, nn.Identity)]
    while layers:
        norm, pool, count = _in_one(layers)
        if count and fused_ops.can_fuse(features, norm, pool):
            features, layers = fused_ops.norm_pool_relu(features, norm, pool), layers[count:]
        else:
            features, layers = layers[0](features), layers[1:]
    return features


def _in_one(layers: list[nn.Module]) -> tuple[nn.Module | None, bool, int]:
    """Batch norm, and whether pooling, before a ReLU at the beginning; how many layers that is, or 0."""
    norm = layers[0] if type(layers[0]) is nn.BatchNorm2d else None
    rest = layers if norm is None else layers[1:]
    pool = bool(rest) and type(rest[0]) is nn.MaxPool2d and _is_by_two(rest[0])
    rest = rest[1:] if pool else rest
    if rest and type(rest[0]) is nn.ReLU:
        return norm, pool, len(layers) - len(rest) + 1
    return None, False, 0


def _is_by_two(pool: nn.MaxPool2d) -> bool:
    return (pool.kernel_size, pool.stride, pool.padding, pool.dilation, pool.ceil_mode) == (2, 2, 0, 1, False)


def conv_bn_relu(in_chans: int, out_chans: int, kernel: int, pool: bool = False) -> FusedSequential:
    """Same-size convolution, batch norm, ReLU, and max pooling by 2 where asked for."""
    return FusedSequential(
        nn.Conv2d(in_chans, out_chans, kernel, padding=kernel // 2),
        nn.BatchNorm2d(out_chans),
        nn.MaxPool2d(2) if pool else nn.Identity(),
        nn.ReLU(inplace=True),
    )


def strided_conv(in_chans: int, out_chans: int, kernel: int, stride: int = 1) -> FusedSequential:
    """Convolution without bias, batch norm, ReLU; every so many pixels."""
    return FusedSequential(
        nn.Conv2d(in_chans, out_chans, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(out_chans),
        nn.ReLU(inplace=True),
    )


class Flatten(nn.Flatten):
    """Flattens, and hands the gradient back in the memory format of the features.

    A ReLU before it takes eight times as long where its output and the gradient lie differently.
    """

    def forward(self, features: Tensor) -> Tensor:
        """float (B, C, H, W) -> float (B, C * H * W)."""
        if features.requires_grad and features.is_contiguous(memory_format=torch.channels_last):
            features.register_hook(_in_channels_last)  # type: ignore[no-untyped-call]
        return super().forward(features)


def _in_channels_last(gradient: Tensor) -> Tensor:
    return gradient.contiguous(memory_format=torch.channels_last)


def initialise_for_relu(layer: nn.Module) -> None:
    """Normal weights of variance 2 / fan-in and no bias (He et al. 2015), for one layer.

    PyTorch's default shrinks the signal to less than half at each layer. Ten layers and more without batch
    norm then say the same of every image, and training from scratch hardly starts.
    """
    if isinstance(layer, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
