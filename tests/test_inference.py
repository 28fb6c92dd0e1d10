"""softvote.inference: a fold's folder is all that prediction needs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Digits
from numpy.typing import NDArray
from projects import softvote, write_project

from softvote import inference
from softvote.artifacts import FoldFolder
from softvote.errors import UserError
from softvote.inference import load_predictor

TRAIN, TEST = 120, 30


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, digits: Digits) -> FoldFolder:
    """One trained fold of a network with BatchNorm and dropout, with test-time shifts; never changed."""
    root = write_project(tmp_path_factory.mktemp("inference"), digits, TRAIN, TEST)
    words = [
        "tiny",
        "--set",
        "members={cnn: {model: cnn, tta: {shift: 1}, ema: 0.5}}",
        "--set",
        "folds.train=1",
    ]
    assert softvote(root, "folds", *words) == softvote(root, "train", *words) == 0
    return FoldFolder(root / "models" / "tiny" / "cnn" / "fold0")


@pytest.fixture
def fold(trained: FoldFolder, tmp_path: Path) -> FoldFolder:
    """A copy, somewhere else."""
    return FoldFolder(Path(shutil.copytree(trained.path, tmp_path / "elsewhere")))


def oof(folder: FoldFolder) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    with np.load(folder.oof) as found:
        return found["rows"], found["probabilities"]


def test_a_fresh_process_predicts_the_same_from_the_folder_alone(
    fold: FoldFolder, digits: Digits, tmp_path: Path
) -> None:
    rows, expected = oof(fold)
    for path in (fold.oof, fold.test, fold.scores, fold.log):
        path.unlink()
    np.save(tmp_path / "images.npy", digits[0][rows][:, None])
    code = (
        "import sys, numpy as np; from pathlib import Path\n"
        "from softvote.artifacts import FoldFolder; from softvote.inference import load_predictor\n"
        "found = load_predictor(FoldFolder(Path(sys.argv[1]))).probabilities(np.load(sys.argv[2]))\n"
        "np.save(sys.argv[3], found)"
    )
    places = [str(fold.path), str(tmp_path / "images.npy"), str(tmp_path / "found.npy")]
    subprocess.run([sys.executable, "-c", code, *places], check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "found.npy"), expected)


def test_test_rows_too(trained: FoldFolder, digits: Digits) -> None:
    images = digits[0][TRAIN : TRAIN + TEST][:, None]
    np.testing.assert_array_equal(load_predictor(trained).probabilities(images), np.load(trained.test))


def test_probabilities(trained: FoldFolder, digits: Digits) -> None:
    found = load_predictor(trained).probabilities(digits[0][:50][:, None])
    assert found.shape == (50, 10) and found.dtype == np.float32
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    assert load_predictor(trained).probabilities(digits[0][:0][:, None]).shape == (0, 10)


def test_predicting_twice_changes_nothing(trained: FoldFolder, digits: Digits) -> None:
    predictor, images = load_predictor(trained), digits[0][:50][:, None]
    first = predictor.probabilities(images)
    np.testing.assert_array_equal(predictor.probabilities(images), first)


def test_batches_do_not_matter(trained: FoldFolder, digits: Digits, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor, images = load_predictor(trained), digits[0][:50][:, None]
    whole = predictor.probabilities(images)
    monkeypatch.setattr(inference, "_PIXELS_A_BATCH", 7 * 64)
    np.testing.assert_allclose(predictor.probabilities(images), whole, atol=1e-5)


def test_shift_zero_is_the_plain_prediction(trained: FoldFolder, digits: Digits) -> None:
    images = digits[0][:50][:, None]
    plain = load_predictor(trained, shift=0)
    assert plain.shift == 0 and load_predictor(trained).shift == 1
    model = plain.model.eval()
    with torch.no_grad():
        expected = torch.softmax(model(plain.normalisation(torch.from_numpy(images).float())), 1).numpy()
    np.testing.assert_allclose(plain.probabilities(images), expected, atol=1e-6)


def test_shifted_views_are_averaged(trained: FoldFolder, digits: Digits) -> None:
    images = digits[0][:50][:, None]
    plain, shifted = load_predictor(trained, shift=0), load_predictor(trained, shift=2)
    views = [images]
    for axis in (2, 3):
        for step in (2, -2):
            view = np.roll(images, step, axis)
            edge = [slice(None)] * 4
            edge[axis] = slice(0, 2) if step > 0 else slice(-2, None)
            view[tuple(edge)] = 0
            views.append(view)
    expected = np.mean([plain.probabilities(view) for view in views], axis=0)
    np.testing.assert_allclose(shifted.probabilities(images), expected, atol=1e-6)
    assert not np.allclose(expected, plain.probabilities(images), atol=1e-3)


def test_the_recipe_says_how_to_predict(trained: FoldFolder) -> None:
    predictor = load_predictor(trained)
    assert (predictor.execution.precision, predictor.execution.memory_format) == ("fp32", "contiguous")
    assert replace(predictor, shift=0).normalisation.mean[0] > 0


# ---------------------------------------------------------------- damage


def test_no_finished_training(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"fold0: holds no finished training; run the train stage$"):
        load_predictor(FoldFolder(tmp_path / "fold0"))


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "changed", "text"])
def test_damaged_weights_are_one_line(fold: FoldFolder, damage: str) -> None:
    content = bytearray(fold.weights.read_bytes())
    fold.weights.unlink()
    if damage != "missing":
        content[-5] ^= 1
        damaged = {"empty": b"", "cut": bytes(content[:1000]), "changed": bytes(content), "text": b"nonsense"}
        fold.weights.write_bytes(damaged[damage])
    with pytest.raises(UserError, match=r"weights.safetensors: ") as caught:
        load_predictor(fold)
    assert "\n" not in str(caught.value) and "train" in str(caught.value)


def test_weights_of_another_network(fold: FoldFolder) -> None:
    recipe = json.loads(fold.recipe.read_text())
    recipe["member"]["model"] = "resnet5"
    fold.recipe.write_text(json.dumps(recipe))
    with pytest.raises(UserError, match=r"weights.safetensors: ") as caught:
        load_predictor(fold)
    assert "\n" not in str(caught.value)
