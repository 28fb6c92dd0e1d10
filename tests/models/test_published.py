"""softvote.models.published: the file of weights a network starts from, and what timm knows of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from softvote.errors import UserError
from softvote.models import classifier_prefixes, create_model, published, published_levels, published_weights

BACKBONES = ["test_resnet", "test_efficientnet", "test_vit", "test_convnext"]
SIDE = 160
PRETRAINED = {"pretrained": True}
every_backbone = pytest.mark.parametrize("name", BACKBONES)


@pytest.fixture(autouse=True)
def no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No network, and a hub's cache that is empty."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def write_weights(name: str, path: Path, seed: int = 1) -> nn.Module:
    """A network as it would be published, of 1,000 classes, and its file."""
    torch.manual_seed(seed)
    network: nn.Module = timm.create_model(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(network.state_dict(), path)
    return network


def build(name: str, folder: Path | None, channels: int = 3, **args: Any) -> nn.Module:
    return create_model(name, 7, channels, (SIDE, SIDE), PRETRAINED | args, folder)


@every_backbone
def test_a_backbone_starts_from_the_file_in_the_folder(name: str, tmp_path: Path) -> None:
    source = write_weights(name, tmp_path / f"{name}.safetensors").state_dict()
    network = build(name, tmp_path)
    prefixes = classifier_prefixes(network)
    for key, value in network.state_dict().items():
        if not key.startswith(prefixes):
            assert torch.equal(value, source[key]), key


def test_grey_images_sum_the_first_layer(tmp_path: Path) -> None:
    source = write_weights("test_resnet", tmp_path / "test_resnet.safetensors")
    network: Any = build("test_resnet", tmp_path, channels=1)
    first, found = source.state_dict()["conv1.0.weight"], network.state_dict()["conv1.0.weight"]
    torch.testing.assert_close(found, first.sum(1, keepdim=True))


def test_the_cache_of_the_hub_comes_after_the_folder(tmp_path: Path, no_hub: Path) -> None:
    config = timm.get_pretrained_cfg("test_resnet")
    folder = no_hub / f"models--{config.hf_hub_id.replace('/', '--')}"
    write_weights("test_resnet", folder / "snapshots" / ("0" * 40) / "model.safetensors")
    (folder / "refs").mkdir()
    (folder / "refs/main").write_text("0" * 40)
    weights = published_weights("test_resnet", PRETRAINED, tmp_path)
    assert weights and weights.fetch() == folder / "snapshots" / ("0" * 40) / "model.safetensors"
    write_weights("test_resnet", tmp_path / "test_resnet.safetensors")
    assert weights.fetch() == tmp_path / "test_resnet.safetensors"


def test_what_came_from_an_address_is_in_the_cache_of_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))
    address = "https://example.org/releases/some_net-0123.pth?download=1"
    weights = published.PublishedWeights("some_net", "", address, tmp_path / "weights")
    assert weights.find() is None
    file = tmp_path / "torch" / "checkpoints" / "some_net-0123.pth"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"weights")
    assert weights.find() == weights.fetch() == file
    monkeypatch.setattr(timm.models._hub, "get_dir", torch.hub.get_dir)
    assert weights._download() == file  # where timm looks for it too


@every_backbone
def test_without_network_a_line_says_which_file_and_where(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        build(name, tmp_path)
    said, hub = str(caught.value), timm.get_pretrained_cfg(name).hf_hub_id
    assert said.startswith(
        f"model {name}: no published weights: {hub}/model.safetensors is not on this machine"
    )
    assert f"put that file here as {tmp_path / name}.safetensors" in said
    assert "\n" not in said


@pytest.mark.parametrize("args", [{}, {"pretrained": False}, PRETRAINED | {"checkpoint_path": "x.pth"}])
def test_nothing_is_looked_for_where_none_are_asked_for(args: dict[str, Any], tmp_path: Path) -> None:
    assert published_weights("test_resnet", args, tmp_path) is None


@pytest.mark.parametrize(("name", "wanted"), [("resnet50_regressor", "resnet50.a1_in1k"), ("cnn", None)])
def test_networks_of_ours(name: str, wanted: str | None, tmp_path: Path) -> None:
    found = published_weights(name, PRETRAINED, tmp_path)
    assert (found and found.name) == wanted


def test_a_network_that_nobody_published() -> None:
    with pytest.raises(UserError, match=r"^model test_coatnet: has no published weights; "):
        build("test_coatnet", None)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ("test_resnet", "cannot be built with"),
        ("test_vit", r"lacks \d+ of \d+ layers, such as .*; put the file"),
    ],
)
def test_the_file_of_another_network_is_refused(other: str, said: str, tmp_path: Path) -> None:
    write_weights(other, tmp_path / "test_efficientnet.safetensors")
    with pytest.raises(UserError, match=rf"^model test_efficientnet: .*{said}"):
        build("test_efficientnet", tmp_path)


def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "test_resnet.safetensors").write_bytes(b"no weights")
    with pytest.raises(
        UserError, match=r"^model test_resnet: .*test_resnet\.safetensors: is not a file of weights"
    ):
        build("test_resnet", tmp_path)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_levels_are_timms(channels: int) -> None:
    network = timm.create_model("test_vit", in_chans=channels)
    levels = published_levels(network, channels)
    assert levels is not None
    mean, std = network.pretrained_cfg["mean"], network.pretrained_cfg["std"]
    assert len(levels[0]) == len(levels[1]) == channels
    if channels == 3:
        assert levels == (tuple(255 * level for level in mean), tuple(255 * level for level in std))
    else:
        assert levels[0] == pytest.approx([255 * sum(mean) / 3] * channels)
    assert published_levels(nn.Linear(1, 1), channels) is None


def test_the_log_of_timm_is_left_as_it_was(tmp_path: Path) -> None:
    import logging

    log = logging.getLogger("timm.models._builder")
    before = (log.level, list(log.handlers))
    with published.missing_layers() as missing:
        log.info("Missing keys (a.weight, b.bias) discovered while loading pretrained weights. This is")
    assert missing == ["a.weight", "b.bias"]
    assert (log.level, log.handlers) == before
