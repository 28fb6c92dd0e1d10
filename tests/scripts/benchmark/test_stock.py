"""The stock loop does what people write, and accuracy is compared on rows that nobody learnt."""

from __future__ import annotations

import math
import statistics
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmark import accuracy, cases, inputs, means, stock

from softvote.data.normalisation import Normalisation
from softvote.inference.network import create_network


def test_stock_images_are_normalised_and_moved_within_the_same_ranges() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 1, 28, 28), dtype=np.uint8)
    images = inputs.Images(pixels, np.arange(50) % 10)
    mean, std = float(pixels.mean()), float(pixels.std())
    data = stock.PilImages(images, Normalisation((mean,), (std,)))
    affine = data.transform.transforms[0]
    assert tuple(affine.degrees) == (-10, 10) and tuple(affine.scale) == (0.9, 1.1)
    assert [28 * share for share in affine.translate] == [2, 2]
    data.transform.transforms.pop(0)
    image, label = data[13]
    assert label == 3
    np.testing.assert_allclose(image.numpy(), (pixels[13] - mean) / std, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_both_loops_learn(root: Path) -> None:
    case = cases.load_case("cnn")
    learnt, scored = accuracy.slices(1498, 600)
    arguments = (None, case, root, learnt, scored, 3, 0)
    for body in (accuracy.accuracy_of_stock, accuracy.accuracy_of_ours):
        assert body(*arguments) > 0.5


@pytest.mark.parametrize("network", ["cnn", "big_kernel_cnn"])
def test_stock_pools_last_and_computes_the_same(network: str) -> None:
    case, shape = cases.load_case(network), (1, 28, 28)
    ours = create_network(case.member, case.competition.task, shape).model.eval()
    theirs = create_network(case.member, case.competition.task, shape).model.eval()
    theirs.load_state_dict(ours.state_dict())
    assert stock.as_people_write_it(theirs) is theirs
    names = [type(layer).__name__ for layer in theirs.modules()]
    after = [names[place - 1] for place, name in enumerate(names) if name == "MaxPool2d"]
    assert after == ["ReLU", "ReLU"]
    images = torch.rand(4, *shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(ours(images), theirs(images))


def test_rows_that_are_scored_are_never_learnt() -> None:
    learnt, scored = accuracy.slices(42_000, 8000)
    assert (len(learnt), len(scored)) == (8000, 10_000)
    assert len(np.unique(np.concatenate([learnt, scored]))) == 18_000
    assert [len(part) for part in accuracy.slices(900, 8000)] == [600, 300]


@pytest.mark.parametrize(
    ("stock", "ours", "words"),
    [
        ([0.980, 0.982, 0.981], [0.981, 0.979, 0.982], "ours differs by noise"),
        ([0.970, 0.971, 0.972], [0.981, 0.980, 0.982], "ours is better by more than two standard errors"),
    ],
)
def test_accuracy_is_compared_in_words(
    stock: list[float],
    ours: list[float],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    each = {"stock": means.summary(stock), "ours": means.summary(ours)}
    monkeypatch.setattr(accuracy, "_accuracies", lambda *_: {"rows": 8000, "scored": 10_000} | each)
    asked = Namespace(seeds=3, epochs=2, rows=8000)
    facts = accuracy.compare_accuracy([cases.load_case("cnn")], Path(), asked)
    found = facts["networks"]["cnn"]
    error = math.sqrt((statistics.variance(stock) + statistics.variance(ours)) / 3)
    difference = statistics.fmean(ours) - statistics.fmean(stock)
    assert found["difference"] == pytest.approx({"mean": difference, "standard_error": error})
    assert found["in_words"].startswith(words)
    printed = capsys.readouterr().out
    assert f"{100 * difference:.3f} ± {100 * error:.3f}" in printed and found["in_words"] in printed
