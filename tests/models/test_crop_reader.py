"""Where digits are found, held against looking at all chains of places; and what is cut out there."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor

from softvote.data.digit_layout import FIRST, SIDE, STEP_HIGH, STEP_LOW, least_width
from softvote.errors import UserError
from softvote.models.crop_reader import SLACK, CropReader, best_chain, chain_loss, crops

COLUMNS = 75


def chains(digits: int) -> Tensor:
    """Every way to place so many boxes, int64 (ways, digits)."""
    firsts, steps = range(FIRST + 2 * SLACK + 1), range(STEP_LOW - SLACK, STEP_HIGH + SLACK + 1)
    ways = torch.tensor(list(product(firsts, *[steps] * (digits - 1)))).cumsum(1)
    return ways[(ways < COLUMNS).all(1)]


def scores(images: int) -> Tensor:
    return torch.randn(images, COLUMNS, generator=torch.Generator().manual_seed(0)) * 2


@pytest.mark.parametrize("digits", [1, 2, 3])
def test_the_best_chain_is_the_best_of_all(digits: int) -> None:
    columns, ways = scores(5), chains(digits)
    totals = columns[:, ways].sum(2)
    assert torch.equal(best_chain(columns, digits), ways[totals.argmax(1)])


@pytest.mark.parametrize("digits", [1, 2, 3])
def test_the_loss_is_that_of_one_chain_among_all(digits: int) -> None:
    columns, ways = scores(5), chains(digits)
    totals = columns[:, ways].sum(2)
    right = torch.arange(5) * 2
    expected = (totals.logsumexp(1) - totals[torch.arange(5), right]).mean()
    torch.testing.assert_close(chain_loss(columns, ways[right]), expected)


def test_crops_are_the_boxes_of_an_image() -> None:
    images = torch.arange(2 * 40 * 80.0).view(2, 1, 40, 80)
    found = crops(images, torch.tensor([[[0, 0], [12, 52]], [[3, 7], [5, 11]]]))
    assert found.shape == (4, 1, SIDE, SIDE)
    assert torch.equal(found[0], images[0, :, :SIDE, :SIDE])
    assert torch.equal(found[1], images[0, :, 12:, 52:])
    assert torch.equal(found[2], images[1, :, 3:31, 7:35])
    assert torch.equal(found[3], images[1, :, 5:33, 11:39])


def test_beyond_the_border_an_image_goes_on_as_it_ends() -> None:
    images = torch.rand(1, 3, 30, 40, generator=torch.Generator().manual_seed(0))
    (found,) = crops(images, torch.tensor([[[-2, -3]]]))
    assert torch.equal(found[:, 2:, 3:], images[0, :, : SIDE - 2, : SIDE - 3])
    assert torch.equal(found[:, 0, 3:], images[0, :, 0, : SIDE - 3])


def test_reads_what_stands_in_the_places_it_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    reader = CropReader(num_classes=20, img_size=(40, 80)).eval()
    images, places = torch.rand(3, 1, 40, 80), torch.tensor([[[0, 4], [5, 30]]]).expand(3, -1, -1)
    monkeypatch.setattr(reader, "find", lambda images: places)
    expected = reader.classifier(crops(images, places)).view(3, 20)
    assert torch.equal(reader(images), expected)
    looks = places + 1
    assert torch.equal(
        reader.teacher_force(images, places, looks)[0], reader.classifier(crops(images, looks)).view(3, 20)
    )


@pytest.mark.slow
def test_learns_where_boxes_are() -> None:
    """White squares of one size, 4 x 4 in the middle of each box."""
    torch.manual_seed(0)
    reader = CropReader(classifier="basic_cnn", num_classes=20, img_size=(32, 80))
    left = torch.randint(0, FIRST, (64, 1)) + torch.cat(
        [torch.zeros(64, 1).long(), torch.randint(STEP_LOW, STEP_HIGH, (64, 1))], 1
    )
    top = torch.randint(0, 5, (64, 2))
    images = torch.zeros(64, 1, 32, 80)
    for image, rows, columns in zip(images, top, left, strict=True):
        for row, column in zip(rows, columns, strict=True):
            image[0, row + 12 : row + 16, column + 12 : column + 16] = 3.0
    places = torch.stack([top, left], 2)
    optimizer = torch.optim.Adam(reader.locator.parameters(), 3e-3)
    for _ in range(40):
        loss = reader.teacher_force(images, places, places)[1]
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    reader.eval()
    assert (reader.find(images) - places).abs().float().mean() < 0.1


def test_no_room_for_the_digits() -> None:
    with pytest.raises(UserError, match="images of 40 x 150 are too small for 4 digits; they need 28 x 168"):
        CropReader(img_size=(40, 150))
    assert least_width(4) == 168
