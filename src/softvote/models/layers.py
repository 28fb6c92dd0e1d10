"""What the networks share.

Where max pooling and a ReLU are neighbours, pooling stands first: the two commute, so the function is the
same, and the ReLU then works on a quarter of the values.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from softvote import fused
from softvote.errors import UserError

ImageSize = tuple[int, int]

# What timm's create_model may pass on to any network and ours have no use for.
_TIMM_EXTRAS = ("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir")


def without_weights(pretrained: bool, kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a network that has no published weights.

    Raises:
        UserError: pretrained weights were asked for.
    """
    if pretrained:
        raise UserError("has no pretrained weights; leave pretrained out")
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


def norm_relu(features: Tensor, norm: nn.Module, shortcut: Tensor | None = None) -> Tensor:
    """relu(norm(features) + shortcut), float (B, C, H, W)."""
    if fused.serves(features, norm):
        return fused.norm_pool_relu(features, norm, shortcut=shortcut)
    features = norm(features) if shortcut is None else norm(features) + shortcut
    return functional.relu(features, inplace=True)


class ConvNormReLU(nn.Sequential):
    """A convolution, batch norm, max pooling by 2 where asked for, and ReLU unless told otherwise."""

    def __init__(self, convolution: nn.Conv2d, pool: bool = False, relu: bool = True) -> None:
        super().__init__(
            convolution,
            nn.BatchNorm2d(convolution.out_channels),
            nn.MaxPool2d(2) if pool else nn.Identity(),
            nn.ReLU(inplace=True) if relu else nn.Identity(),
        )
        self.pools, self.rectifies = pool, relu

    def forward(self, features: Tensor) -> Tensor:
        """float (B, in_chans, H, W) -> float (B, out_chans, H', W')."""
        convolution, norm, *rest = self
        features = convolution(features)
        if fused.serves(features, norm):
            return fused.norm_pool_relu(features, norm, pool=self.pools, relu=self.rectifies)
        features = norm(features)
        for layer in rest:
            features = layer(features)
        return features


def conv_bn_relu(in_chans: int, out_chans: int, kernel: int, pool: bool = False) -> ConvNormReLU:
    """Same-size convolution, batch norm, ReLU, and max pooling by 2 where asked for."""
    return ConvNormReLU(nn.Conv2d(in_chans, out_chans, kernel, padding=kernel // 2), pool)


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
