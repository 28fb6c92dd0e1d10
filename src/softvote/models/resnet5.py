"""Two residual blocks (He et al. 2016) behind one convolution, without pooling."""

from __future__ import annotations

from typing import Any

from timm.models import register_model
from torch import Tensor, nn

from softvote.models.layers import (
    FeaturesThenClassifier,
    Flatten,
    FusedSequential,
    ImageSize,
    add_relu,
    flat_features,
    forward_fused,
    reject_pretrained,
)


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions added to their input; a biased 1 x 1 one where the shape changes."""

    def __init__(self, in_chans: int, out_chans: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(in_chans, out_chans, 3, stride=stride, padding=1),
            nn.BatchNorm2d(out_chans),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_chans, out_chans, 3, padding=1),
            nn.BatchNorm2d(out_chans),
        )
        same_shape = stride == 1 and in_chans == out_chans
        self.shortcut: nn.Module = (
            nn.Identity()
            if same_shape
            else nn.Sequential(nn.Conv2d(in_chans, out_chans, 1, stride=stride), nn.BatchNorm2d(out_chans))
        )

    def forward(self, features: Tensor) -> Tensor:
        """float (B, in_chans, H, W) -> float (B, out_chans, H / stride, W / stride)."""
        *inner, norm = self.body
        return add_relu(forward_fused(inner, features), norm, self.shortcut(features))


class ResNet5(FeaturesThenClassifier):
    """A convolution, two residual blocks and one linear layer.

    Args:
        num_classes: width of the output.
        in_chans: channels of the image.
        img_size: height and width of the image in pixels.
    """

    def __init__(self, num_classes: int = 10, in_chans: int = 1, img_size: ImageSize = (28, 28)) -> None:
        super().__init__()
        self.features = FusedSequential(
            nn.Conv2d(in_chans, 32, 3, padding=1),
            nn.ReLU(inplace=True),
            ResidualBlock(32, 32),
            ResidualBlock(32, 64, stride=2),
            Flatten(),
        )
        self.classifier = nn.Linear(flat_features(self.features, in_chans, img_size), num_classes)


@register_model
def resnet5(pretrained: bool = False, **kwargs: Any) -> ResNet5:
    """202,314 parameters at 1 x 28 x 28 and 10 classes."""
    return ResNet5(**reject_pretrained(pretrained, kwargs))
