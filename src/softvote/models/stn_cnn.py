"""A spatial transformer (Jaderberg et al. 2015) that straightens the image before a small CNN sees it."""

from __future__ import annotations

from typing import Any

import torch
from timm.models import register_model
from torch import Tensor, nn
from torch.nn import functional

from softvote.models.layers import (
    FeaturesThenClassifier,
    FusedSequential,
    ImageSize,
    flat_features,
    reject_pretrained,
)


class SpatialTransformer(nn.Module):
    """Looks at the image, predicts an affine map, and resamples the image through it.

    It starts as the identity map, so training begins with the image as it is.
    """

    def __init__(self, in_chans: int, img_size: ImageSize) -> None:
        super().__init__()
        self.localisation = FusedSequential(
            nn.Conv2d(in_chans, 8, 7),
            nn.MaxPool2d(2),
            nn.ReLU(inplace=True),
            nn.Conv2d(8, 10, 5),
            nn.MaxPool2d(2),
            nn.ReLU(inplace=True),
            nn.Flatten(),
        )
        affine = nn.Linear(32, 6)
        nn.init.zeros_(affine.weight)
        with torch.no_grad():
            affine.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]))
        self.regressor = nn.Sequential(
            nn.Linear(flat_features(self.localisation, in_chans, img_size), 32), nn.ReLU(inplace=True), affine
        )

    def forward(self, images: Tensor) -> Tensor:
        """float (B, C, H, W) -> the same shape, resampled bilinearly with aligned corners."""
        theta = self.regressor(self.localisation(images)).float().view(-1, 2, 3)
        # The grid is made in float32: bfloat16 cannot tell neighbouring pixels apart at the border.
        with torch.autocast(images.device.type, enabled=False):
            grid = functional.affine_grid(theta, list(images.shape), align_corners=True)
            return functional.grid_sample(images.float(), grid, align_corners=True)


class STNCNN(FeaturesThenClassifier):
    """A spatial transformer, two unpadded 3 x 3 convolutions and two linear layers.

    Args:
        num_classes: width of the output.
        in_chans: channels of the image.
        img_size: height and width of the image in pixels, at least 18 each.
    """

    def __init__(self, num_classes: int = 10, in_chans: int = 1, img_size: ImageSize = (28, 28)) -> None:
        super().__init__()
        self.transformer = SpatialTransformer(in_chans, img_size)
        self.features = FusedSequential(
            nn.Conv2d(in_chans, 32, 3),
            nn.MaxPool2d(2),
            nn.ReLU(inplace=True),
            nn.Conv2d(32, 64, 3),
            nn.MaxPool2d(2),
            nn.ReLU(inplace=True),
            nn.Flatten(),
        )
        self.classifier = nn.Sequential(
            nn.Linear(flat_features(self.features, in_chans, img_size), 256),
            nn.ReLU(inplace=True),
            nn.Linear(256, num_classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """float (B, in_chans, H, W) -> float (B, num_classes)."""
        return super().forward(self.transformer(images))


@register_model
def stn_cnn(pretrained: bool = False, **kwargs: Any) -> STNCNN:
    """436,762 parameters at 1 x 28 x 28 and 10 classes."""
    return STNCNN(**reject_pretrained(pretrained, kwargs))
