"""ResNet50 (He et al. 2016) on any number of channels, with a small head for a sum."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
from timm.models import adapt_input_conv, load_state_dict, register_model
from torch import Tensor, nn

from softvote.errors import UserError
from softvote.models.layers import FeaturesThenClassifier, ImageSize, reject_pretrained
from softvote.models.published import in_short

PUBLISHED = "resnet50.a1_in1k"
"""timm's network from whose published weights this one's backbone starts."""

_REMEDY = "name another file with model_args: {weights: PATH}, or leave weights out to train from scratch"


class ResNet50Regressor(FeaturesThenClassifier):
    """timm's ResNet50 with its 7 x 7 stride-2 stem and no classifier, and two linear layers.

    Args:
        num_classes: width of the output.
        in_chans: channels of the image.
        img_size: height and width of the image in pixels; any size will do.
    """

    def __init__(self, num_classes: int = 1, in_chans: int = 1, img_size: ImageSize = (40, 168)) -> None:
        super().__init__()
        self.features = timm.create_model("resnet50", num_classes=0, in_chans=in_chans)
        self.classifier = nn.Sequential(
            nn.Linear(2048, 128), nn.ReLU(inplace=True), nn.Linear(128, num_classes)
        )


def _load_backbone(backbone: nn.Module, file: Path) -> None:
    """Lay the weights of a ResNet50 checkpoint into `backbone`, all but its classifier's.

    For grey images the stem's kernels are summed over the colours; for other channels than three they
    are repeated and scaled.

    Raises:
        UserError: no such file, one that cannot be read, or not the weights of a ResNet50.
    """
    if not file.is_file():
        raise UserError.at(f"weights {file}", "no such file", _REMEDY)
    try:
        found: dict[str, Tensor] = load_state_dict(str(file))
    except Exception as error:  # safetensors, zipfile, pickle and PyTorch each raise their own
        raise UserError.at(f"weights {file}", f"cannot be read ({in_short(error)})", _REMEDY) from None
    kept = {name: value for name, value in found.items() if not name.startswith("fc.")}
    try:
        if "conv1.weight" in kept:
            channels = backbone.state_dict()["conv1.weight"].shape[1]
            kept["conv1.weight"] = adapt_input_conv(channels, kept["conv1.weight"])
        # All names must be there and fit: a file of another network would otherwise leave its noise.
        backbone.load_state_dict(kept)
    except Exception as error:
        raise UserError.at(f"weights {file}", f"do not fit a ResNet50 ({in_short(error)})", _REMEDY) from None


@register_model
def resnet50_regressor(
    pretrained: bool = False, weights: str | None = None, **kwargs: Any
) -> ResNet50Regressor:
    """23,764,161 parameters at one channel and 1 output.

    Args:
        pretrained: start from timm's published weights, whose file `create_model` gives as `weights`.
        weights: start from this file: a ResNet50 checkpoint of timm or torchvision, .safetensors or .pth.
            With neither, training starts from scratch.

    Raises:
        UserError: the weights cannot be had or do not fit.
    """
    network = ResNet50Regressor(**reject_pretrained(pretrained and weights is None, kwargs))
    if weights is not None:
        _load_backbone(network.features, Path(weights).expanduser())
    return network
