"""From a folder of photographs to networks that started from published weights, without a network."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import data_fixtures as data
import pytest
import timm
import torch
from conftest import Digits
from PIL import Image
from projects import command, softvote
from safetensors.torch import load_file, save_file

from softvote.data.first_recipe import LIGHT
from softvote.storage.fingerprints import sha256_of

BACKBONES = [
    "test_resnet",
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("test_efficientnet", "test_convnext")),
]
SMALLER = ["--set", "competition.image.height=64", "--set", "competition.image.width=64"]
BRIEF = [
    *SMALLER, "--set", "folds.count=2", "--set", "folds.train=1", "--set", "members.light.epochs=1",
    "--set", "members.light.precision=fp32", "--set", "engine.workers=1",
]  # fmt: skip


@pytest.fixture
def root(tmp_path: Path, digits: Digits, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with thirty large colour images and what `init` wrote; no hub, an empty cache."""
    folder = tmp_path / "input" / "digits"
    data.write_competition(folder, "image_folder", digits)
    for path in folder.glob("*/*.png"):
        Image.open(path).convert("RGB").resize((96, 96)).save(path)
    assert softvote(tmp_path, "init", str(folder)) == 0
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    return tmp_path


def publish(root: Path, model: str, seed: int = 0) -> Path:
    """Put a file of weights where they are looked for."""
    path = root / "input" / "weights" / f"{model}.safetensors"
    path.parent.mkdir(exist_ok=True)
    torch.manual_seed(seed)
    save_file(timm.create_model(model).state_dict(), path)
    return path


def run(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own, which reads the environment anew."""
    return subprocess.run(command(root, words), capture_output=True, text=True, env=os.environ, check=False)


@pytest.mark.usefixtures("known_throughput")
@pytest.mark.parametrize("model", BACKBONES)
def test_what_init_writes_trains_from_a_file_that_is_named(
    root: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = publish(root, model)
    words = [*BRIEF, "--set", f"members.light.model={model}"]
    assert softvote(root, "folds", "digits", *words) == 0
    capsys.readouterr()
    assert softvote(root, "check", "digits", *words) == 0
    assert f"published weights of light: {file}, sha256 {sha256_of(file)[:8]}" in capsys.readouterr().out
    assert softvote(root, "train", "digits", *words) == 0
    folder = root / "models" / "digits" / "light" / "fold0"
    record = json.loads((folder / "recipe.json").read_text())
    assert record["published_weights_sha256"] == sha256_of(file)
    config = timm.get_pretrained_cfg(model)
    assert record["mean"] == pytest.approx([255 * level for level in config.mean])
    assert record["std"] == pytest.approx([255 * level for level in config.std])
    before, after = load_file(file), load_file(folder / "weights.safetensors")
    moved = {
        name: (after[name] - before[name]).abs().max() for name in after if name.endswith("conv1.weight")
    }
    assert all(0 < amount < 0.05 for amount in moved.values())

    capsys.readouterr()
    assert softvote(root, "train", "digits", *words) == 0
    assert "1 of 1 training is there and unchanged" in capsys.readouterr().out
    publish(root, model, seed=1)
    assert softvote(root, "train", "digits", *words) == 0
    said = capsys.readouterr().out
    assert (
        f"its published weights were another file, sha256 {record['published_weights_sha256'][:8]} -> "
        in said
    )
    file.unlink()  # what was trained needs it no more
    assert softvote(root, "train", "digits", *words) == 0
    assert "1 of 1 training is there and unchanged" in capsys.readouterr().out


@pytest.mark.parametrize("stage", ["check", "train"])
def test_a_damaged_file_is_named(root: Path, stage: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*BRIEF, "--set", f"members.light.model={BACKBONES[0]}"]
    assert softvote(root, "folds", "digits", *words) == 0
    file = publish(root, BACKBONES[0])
    file.write_bytes(file.read_bytes()[:1000])
    assert softvote(root, stage, "digits", *words) == 1
    said = capsys.readouterr().err
    assert f"{file}: is not a file of weights" in said and "put it there anew" in said
    assert "members.light" in said or "light fold 0" in said


@pytest.mark.slow
def test_without_a_network_one_line_says_what_to_put_where(root: Path) -> None:
    assert run(root, "folds", "digits", *BRIEF).returncode == 0
    checked = run(root, "check", "digits", *BRIEF)
    place = root / "input" / "weights" / f"{LIGHT}.safetensors"
    hub = f"timm/{LIGHT}/model.safetensors"
    assert (
        f"note: published weights of light are not here; `train` fetches {hub} from the hub, "
        f"or put them as {place}" in checked.stdout
    )
    assert checked.returncode == 0, checked.stderr
    trained = run(root, "train", "digits", *BRIEF)
    assert trained.returncode == 1
    (line,) = [line for line in trained.stderr.splitlines() if line]
    assert line.startswith(
        f"softvote: members.light: model {LIGHT}: no published weights: {hub} is not on this"
    )
    assert f"put that file here as {place}, or leave pretrained out" in line
    publish(root, LIGHT)
    assert run(root, "train", "digits", *BRIEF).returncode == 0
