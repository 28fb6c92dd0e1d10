"""softvote.training.mixing: mixup and cutmix of whole batches."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from softvote.config.recipe import Recipe
from softvote.training.mixing import Mixing, draw_mixing

ROWS = np.arange(8)


def shares(recipe: Recipe, epoch: int = 0) -> list[float]:
    drawn = [draw_mixing(recipe, 0, epoch, number) for number in range(200)]
    return [1.0 if mixing is None else float(mixing.share) for mixing in drawn]


def test_nothing_asked_for_mixes_nothing() -> None:
    assert draw_mixing(Recipe(), 0, 0, 0) is None


@pytest.mark.parametrize("alpha", [0.2, 1.0])
@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_the_share_is_drawn_for_each_batch(kind: str, alpha: float) -> None:
    recipe = Recipe.model_validate({kind: alpha})
    found = [share for epoch in range(4) for share in shares(recipe, epoch)]
    assert len(set(found)) > 750 and all(0 <= share <= 1 for share in found)  # some are 1 in all digits
    assert shares(recipe, 2) == shares(recipe, 2) != shares(recipe, 3)
    assert (min(found) >= 0.5) == (kind == "mixup")
    np.testing.assert_allclose(np.mean(found), 0.5 if kind == "cutmix" else np.mean(found), atol=0.05)


def test_both_take_turns_by_chance() -> None:
    drawn = [draw_mixing(Recipe(mixup=0.8, cutmix=1.0), 0, 0, number) for number in range(400)]
    kinds = Counter(mixing.kind for mixing in drawn if mixing)
    assert kinds.keys() == {"mixup", "cutmix"} and 160 < kinds["cutmix"] < 240
    alone = draw_mixing(Recipe(mixup=0.8), 0, 0, 3)
    assert drawn[3] is None or drawn[3].kind != "mixup" or drawn[3] == alone  # as without the other


@pytest.mark.parametrize("shape", [(20, 20), (12, 40)])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.83, 1.0])
def test_cutmix_pastes_a_rectangle_of_the_partner(shape: tuple[int, int], share: float) -> None:
    """Pixels tell whose they are, and the share of the loss is the share that is left."""
    images = torch.arange(8.0).view(8, 1, 1, 1).expand(8, 3, *shape).contiguous()
    mixed, mixing = Mixing("cutmix", share).mix(images, ROWS, 5)
    own = mixed == images
    assert torch.equal(mixed, torch.where(own, images, images.flip(0)))
    np.testing.assert_allclose(own.float().mean((1, 2, 3)).numpy(), float(mixing.share), atol=1e-6)
    assert float(mixing.share) == pytest.approx(share, abs=0.06)
    for each in ~own[:, 0]:
        assert each.sum() == each.any(0).sum() * each.any(1).sum()
    if share == 0.5:
        assert len({tuple(each.flatten().tolist()) for each in own}) > 4  # each in its own place


def test_the_place_of_a_rectangle_is_of_its_row_alone() -> None:
    zeros = torch.zeros(8, 1, 16, 16)
    zeros[4:] = 1
    mixed, _ = Mixing("cutmix", 0.7).mix(zeros, ROWS, 5)
    order = [1, 6]
    some, _ = Mixing("cutmix", 0.7).mix(zeros[order], ROWS[order], 5)
    assert torch.equal(some, mixed[order])


def test_a_share_in_memory_does_the_same() -> None:
    images = torch.rand(8, 1, 16, 16)
    for kind in ("mixup", "cutmix"):
        plain, one = Mixing(kind, 0.7).mix(images, ROWS, 5)  # type: ignore[arg-type]
        again, other = Mixing(kind, torch.tensor(0.7)).mix(images, torch.from_numpy(ROWS), 5)  # type: ignore[arg-type]
        torch.testing.assert_close(plain, again)
        assert float(one.share) == pytest.approx(float(other.share))


@pytest.mark.parametrize(("share", "flipped"), [(0.3, True), (0.5, False), (0.9, False)])
def test_what_is_right_is_what_there_is_more_of(share: float, flipped: bool) -> None:
    labels = torch.arange(8)
    assert torch.equal(Mixing("cutmix", share).of_larger_part(labels), labels.flip(0) if flipped else labels)
    tags = torch.eye(8)
    assert torch.equal(Mixing("cutmix", share).of_larger_part(tags), tags.flip(0) if flipped else tags)


def test_losses_are_mixed_by_area() -> None:
    mixing = Mixing("cutmix", 0.75)
    assert float(mixing.mix_losses(torch.tensor(4.0), torch.tensor(8.0))) == 5.0
