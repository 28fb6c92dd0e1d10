"""softvote.training.augmentations: every family of keys, and the numbers of torchvision and kornia."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import kornia
import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as reference
from pydantic import ValidationError
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.transforms import InterpolationMode

from softvote.config.augment import Augment
from softvote.seeds import derive_seed
from softvote.training.augment import create_augmenter, create_transform, stays_on_device
from softvote.training.augmentations import AUGMENTATIONS
from softvote.training.augmentations.blurring import blur_gaussian
from softvote.training.augmentations.colour import (
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
)
from softvote.training.augmentations.cropping import enlarge
from softvote.training.augmentations.policies import OPERATIONS, RANDOM, WIDE, Ranges, apply_operations

EVERY: dict[str, dict[str, Any]] = {
    "by_name": {"albumentations": [{"ColorJitter": {"p": 1}}, {"Affine": {"rotate": [-20, 20], "p": 1}}]},
    "random_resized_crop": {"random_resized_crop": {}},
    "turning": {"vertical_flip": 0.5, "quarter_turns": True},
    "policies": {"trivial_augment": True},
    "colour": {"brightness": 0.4, "contrast": 0.4},
    "blurring": {"blur": 1.5},
    "erasing": {"erasing": 1.0},
}
"""Keys of every family that change images of any number of channels."""

MORE: dict[str, dict[str, Any]] = {
    "rand_augment": {"rand_augment": {"operations": 3, "magnitude": 12}},
    "saturation": {"saturation": 0.5},
    "hue": {"hue": 0.3},
    "grayscale": {"grayscale": 0.5},
    "all": {
        "rotate": 10, "horizontal_flip": 0.5, "random_resized_crop": {"scale": [0.5, 1]},
        "trivial_augment": True, "brightness": 0.2, "saturation": 0.2, "erasing": 0.3,
    },
}  # fmt: skip
KEYS = EVERY | MORE
FEW_CHANNELS = {"policies": (1, 3), "by_name": (1, 3), "rand_augment": (1, 3)} | dict.fromkeys(
    ("saturation", "hue", "grayscale", "all"), (3,)
)

every = pytest.mark.parametrize("name", KEYS)


def augmented(name: str, images: Tensor, rows: Any = None, seed: int = 3) -> Tensor:
    rows = np.arange(len(images)) if rows is None else np.asarray(rows)
    return create_augmenter(Augment.model_validate(KEYS[name]))(images, rows.astype(np.int64), seed)


def photographs(count: int = 12, channels: int = 3, side: int = 24) -> Tensor:
    """Smooth noise, each image of its own; uint8 (count, channels, side, side)."""
    random = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, channels, 6, 6, generator=random) * 255
    return torch.nn.functional.interpolate(coarse, (side, side), mode="bilinear").byte()


# ---------------------------------------------------------------- every family


def test_every_family_is_tried() -> None:
    assert set(EVERY) == set(AUGMENTATIONS)


@every
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_shapes_types_and_range(name: str, channels: int) -> None:
    if channels not in FEW_CHANNELS.get(name, (1, 3, 4)):
        pytest.skip("refused where the pipeline is read")
    images = photographs(8, channels)
    before = images.clone()
    found = augmented(name, images)
    assert found.shape == images.shape and found.dtype == torch.float32
    assert found.min() >= 0 and found.max() <= 255.01 and found.max() > 50
    assert torch.equal(images, before)


@every
def test_the_same_row_and_seed_give_the_same_whatever_the_batch(name: str) -> None:
    images, rows = photographs(), np.arange(100, 112)
    whole = augmented(name, images, rows)
    order = np.array([5, 0, 11, 3])
    assert torch.equal(augmented(name, images[order], rows[order]), whole[order])
    alone = [augmented(name, images[i : i + 1], rows[i : i + 1]) for i in range(12)]
    torch.testing.assert_close(torch.cat(alone), whole, rtol=0, atol=1e-3)


@every
def test_another_epoch_or_row_differs(name: str) -> None:
    images = photographs(1).expand(40, -1, -1, -1)
    one, other = (augmented(name, images, seed=derive_seed(0, "augment", epoch)) for epoch in (0, 1))
    assert (one != other).flatten(1).any(1).sum() >= 10  # some are probabilities, or one of few turns
    assert len({tuple(image.flatten().tolist()) for image in one}) >= (2 if name == "grayscale" else 5)


@every
def test_rows_on_the_device_draw_the_same(name: str) -> None:
    images = photographs(6)
    spec = Augment.model_validate(KEYS[name])
    rows = np.arange(6) + 17
    expected = create_augmenter(spec)(images, rows, 5)
    assert torch.equal(create_augmenter(spec)(images, torch.from_numpy(rows), 5), expected)


class _NothingWaits(TorchDispatchMode):
    """Refuses what would wait for a device, or copy to it, while a step is recorded."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func)
        refused = ("_local_scalar_dense", "nonzero", "lift_fresh", "masked_select", "_unique", "bincount")
        assert not any(word in name for word in refused), name
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", [name for name in KEYS if name != "by_name"])
def test_steps_that_are_recorded_wait_for_nothing(name: str) -> None:
    spec = Augment.model_validate(KEYS[name])
    assert stays_on_device(spec)
    augment, images, rows = create_augmenter(spec), photographs(4), torch.arange(4)
    with _NothingWaits():
        augment(images, rows, 5)


@pytest.mark.parametrize("family", AUGMENTATIONS.values(), ids=AUGMENTATIONS)
def test_what_is_not_asked_for_is_not_done(family: Any) -> None:
    defaults = family().model_dump()
    spec = Augment.model_validate(defaults)
    assert spec == Augment() and spec.families() == {} and create_transform(spec) is None
    images = photographs()
    torch.testing.assert_close(
        create_augmenter(spec)(images, np.arange(12), 0), images.float(), rtol=0, atol=0.01
    )


@every
def test_what_is_asked_for_beside_leaves_what_movements_draw(name: str) -> None:
    """A recipe to which colours are added moves its images as before."""
    moved = create_augmenter(Augment(shift=2))
    spec = Augment.model_validate(KEYS["colour"] | {"shift": 2, "brightness": 0.4, "contrast": 0})
    images = torch.full((20, 1, 12, 12), 100, dtype=torch.uint8)
    expected, found = (augment(images, np.arange(20), 1) for augment in (moved, create_augmenter(spec)))
    assert torch.equal(found == 0, expected == 0)
    ratio = (found / expected).nan_to_num(0).amax((1, 2, 3))
    torch.testing.assert_close(found, expected * ratio.view(-1, 1, 1, 1))
    assert ratio.min() < 0.8 and ratio.max() > 1.2


@every
def test_specifications_go_through_json_and_other_processes(name: str) -> None:
    spec = Augment.model_validate(KEYS[name])
    assert Augment.model_validate(spec.model_dump(mode="json")) == spec
    assert Augment.model_validate(spec.model_dump(mode="json", exclude_defaults=True)) == spec
    assert spec.amounts() != "none"


@pytest.mark.parametrize(
    ("keys", "shape", "says"),
    [
        ({"saturation": 0.1, "hue": 0.1}, (1, 8, 8), ["saturation: is for 3 channels", "hue: is for 3"]),
        ({"grayscale": 0.1}, (4, 8, 8), ["grayscale: is for 3 channels, and these images have 4"]),
        ({"trivial_augment": True}, (4, 8, 8), ["trivial_augment: is for 1 or 3 channels"]),
        ({"trivial_augment": True, "rand_augment": {}}, (3, 8, 8), ["rand_augment: goes without trivial"]),
        ({"quarter_turns": True}, (3, 8, 9), ["quarter_turns: turns square images, and these are 8 x 9"]),
        ({"brightness": 0.1, "contrast": 0.1, "blur": 1}, (4, 8, 9), []),
        ({"saturation": 0.1, "rand_augment": {}, "quarter_turns": True}, (3, 8, 8), []),
    ],
)
def test_images_that_it_is_not_for(keys: Any, shape: tuple[int, int, int], says: list[str]) -> None:
    found = [str(problem) for problem in Augment.model_validate(keys).find_misfits(*shape)]
    assert [any(text.startswith(start) for text in found) for start in says] == [True] * len(found)


@pytest.mark.parametrize(
    "keys",
    [
        {"brightness": 1.1}, {"hue": 0.6}, {"blur": -1}, {"random_resized_crop": {"scale": [0.5, 0.2]}},
        {"random_resized_crop": {"scale": [0, 1]}}, {"rand_augment": {"operations": 0}},
        {"engine": "albumentations", "brightness": 0.1},
    ],
)  # fmt: skip
def test_amounts_that_are_none(keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Augment.model_validate(keys)


# ---------------------------------------------------------------- amounts and probabilities


def means(name: str, images: Tensor) -> Tensor:
    return augmented(name, images).flatten(1).mean(1)


def test_brightness_is_a_proportion_either_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KEYS, "one", {"brightness": 0.4})
    factor = means("one", torch.full((200, 3, 4, 4), 100, dtype=torch.uint8)) / 100
    assert 0.6 <= factor.min() < 0.63 and 1.37 < factor.max() <= 1.4001
    assert factor.mean() == pytest.approx(1, abs=0.05)


def test_contrast_leaves_the_mean_and_changes_the_range(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KEYS, "one", {"contrast": 0.4})
    images = torch.full((200, 1, 4, 4), 80, dtype=torch.uint8)
    images[:, :, 2:] = 120
    found = augmented("one", images)
    torch.testing.assert_close(found.flatten(1).mean(1), torch.full((200,), 100.0))
    ranges = (found.amax((1, 2, 3)) - found.amin((1, 2, 3))) / 40
    assert 0.6 <= ranges.min() < 0.63 and 1.37 < ranges.max() <= 1.4001


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"vertical_flip": 1}, lambda images: images.flip(-2)),
        ({"grayscale": 1}, lambda images: reference.rgb_to_grayscale(images, 3)),
    ],
)
def test_what_is_certain(
    keys: Any, expected: Callable[[Tensor], Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(KEYS, "one", keys)
    images = photographs()
    torch.testing.assert_close(augmented("one", images), expected(images.float()), rtol=0, atol=0.05)


@pytest.mark.parametrize("keys", [{"vertical_flip": 0.25}, {"erasing": 0.25}, {"grayscale": 0.25}])
def test_a_probability_is_one(keys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KEYS, "one", keys)
    images = photographs(1).expand(400, -1, -1, -1)
    changed = (augmented("one", images) != images).flatten(1).any(1).float().mean()
    assert 0.18 < changed < 0.32


def test_quarter_turns_are_the_four_equally_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KEYS, "one", {"quarter_turns": True})
    image = photographs(1)
    found = augmented("one", image.expand(400, -1, -1, -1))
    turned = [torch.rot90(image, count, (-2, -1)).float() for count in range(4)]
    shares = [float((found == each).flatten(1).all(1).float().mean()) for each in turned]
    assert sum(shares) == 1 and all(0.17 < share < 0.33 for share in shares)


def test_random_crops_have_the_areas_and_ratios_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ramps along x and y tell how much of each side is seen, and where."""
    monkeypatch.setitem(KEYS, "one", {"random_resized_crop": {"scale": [0.2, 0.5], "ratio": [0.8, 1.25]}})
    ramp = torch.arange(64, dtype=torch.uint8).expand(64, 64)
    found = augmented("one", torch.stack([ramp, ramp.T])[None].expand(300, -1, -1, -1))
    wide, high = ((found[:, i].amax((1, 2)) - found[:, i].amin((1, 2)) + 1) / 64 for i in (0, 1))
    area, ratio = wide * high, wide / high
    assert 0.19 < area.min() < 0.22 and 0.47 < area.max() < 0.51
    assert 0.78 < ratio.min() < 0.83 and 1.2 < ratio.max() < 1.28
    starts = found[:, 0].amin((1, 2))
    assert starts.min() < 2 and starts.max() > 20


def test_erasing_hides_a_rectangle_behind_the_mean_colour() -> None:
    images = photographs(60, side=32)
    found, mean = augmented("erasing", images), images.float().mean((2, 3), keepdim=True)
    hidden = (found != images).any(1)
    torch.testing.assert_close(found, torch.where(hidden[:, None], mean, images.float()))
    for each in hidden:
        rows, columns = each.any(1), each.any(0)
        assert each.sum() >= 0.97 * rows.sum() * columns.sum()  # a pixel may be of the mean colour by itself
    share = hidden.float().mean((1, 2))
    assert 0.01 < share.min() < 0.06 and 0.25 < share.max() < 0.38


# ---------------------------------------------------------------- the numbers of others

IMAGES = torch.randint(0, 256, (5, 3, 20, 24), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
FACTORS = torch.tensor([0.5, 0.8, 1, 1.2, 1.7])


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (adjust_brightness, reference.adjust_brightness),
        (adjust_contrast, reference.adjust_contrast),
        (adjust_saturation, reference.adjust_saturation),
        (lambda images, factor: adjust_hue(images, factor / 4), lambda i, f: reference.adjust_hue(i, f / 4)),
    ],
    ids=["brightness", "contrast", "saturation", "hue"],
)
def test_colours_are_those_of_torchvision(ours: Any, theirs: Any) -> None:
    images = IMAGES.float()
    expected = [
        theirs(image / 255, float(factor)) * 255 for image, factor in zip(images, FACTORS, strict=True)
    ]
    torch.testing.assert_close(ours(images, FACTORS), torch.stack(expected), rtol=0, atol=2e-3)


def test_hues_are_those_of_kornia() -> None:
    turns = torch.tensor([-0.5, -0.2, 0, 0.1, 0.4])
    expected = kornia.enhance.adjust_hue(IMAGES.float() / 255, turns * 2 * math.pi) * 255
    torch.testing.assert_close(adjust_hue(IMAGES.float(), turns), expected, rtol=0, atol=2e-3)


def test_blur_is_that_of_kornia() -> None:
    sigma = torch.tensor([0.3, 0.5, 1, 1.5, 2])
    expected = kornia.filters.gaussian_blur2d(IMAGES.float(), (13, 13), sigma[:, None].expand(5, 2))
    torch.testing.assert_close(blur_gaussian(IMAGES.float(), sigma, 6), expected, rtol=0, atol=1e-3)


def test_crops_are_those_of_torchvision() -> None:
    start = torch.tensor([[0, 0], [3, 2], [5, 1], [10, 10], [0, 4.0]])
    size = torch.tensor([[24, 20], [10, 12], [4, 19], [7, 3], [24, 6.0]])
    expected = [
        reference.resized_crop(image, int(y), int(x), int(high), int(wide), [20, 24], antialias=False)
        for image, (x, y), (wide, high) in zip(IMAGES.float(), start, size, strict=True)
    ]
    torch.testing.assert_close(enlarge(IMAGES.float(), start, size), torch.stack(expected), rtol=0, atol=2e-3)


def _affine(angle: float = 0, shift: tuple[int, int] = (0, 0), shear: tuple[float, float] = (0, 0)) -> Any:
    def theirs(images: Tensor) -> Tensor:
        degrees = [math.degrees(math.atan(-tangent)) for tangent in shear]
        return reference.affine(
            images.float(), angle, list(shift), 1.0, degrees, interpolation=InterpolationMode.BILINEAR
        )

    return theirs


def _of_unit(function: Any, *arguments: Any) -> Any:
    return lambda images: function(images.float() / 255, *arguments) * 255


THEIRS: dict[str, tuple[float, Ranges, Any]] = {
    "identity": (0.7, WIDE, lambda images: images.float()),
    "shear_x": (0.3, WIDE, _affine(shear=(0.3 * 0.99, 0))),
    "shear_y": (0.5, RANDOM, _affine(shear=(0, 0.5 * 0.3))),
    "translate_x": (4 / (0.45 * 24), WIDE, _affine(shift=(4, 0))),
    "translate_y": (3 / (150 / 331 * 20), RANDOM, _affine(shift=(0, 3))),
    "rotate": (0.2, WIDE, _affine(27)),
    "brightness": (0.5, WIDE, _of_unit(reference.adjust_brightness, 1.495)),
    "color": (0.5, RANDOM, _of_unit(reference.adjust_saturation, 1.45)),
    "contrast": (0.5, WIDE, _of_unit(reference.adjust_contrast, 1.495)),
    "sharpness": (0.5, WIDE, _of_unit(reference.adjust_sharpness, 1.495)),
    "posterize": (0.5, WIDE, lambda images: reference.posterize(images, 5).float()),
    "solarize": (0.4, WIDE, lambda images: reference.solarize(images, 153).float()),
    "autocontrast": (0.4, WIDE, _of_unit(reference.autocontrast)),
    "equalize": (0.4, WIDE, lambda images: reference.equalize(images).float()),
}
"""Of each operation a strength, and what torchvision makes of it."""


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_operations_are_those_of_torchvision(name: str, channels: int) -> None:
    strength, ranges, theirs = THEIRS[name]
    images = (IMAGES // 2 + 30)[:, :channels]
    count = len(images)
    which, given = torch.full((count,), OPERATIONS.index(name)), torch.full((count,), strength)
    found = apply_operations(images.float(), which, given, torch.ones(count), ranges)
    torch.testing.assert_close(found, theirs(images), rtol=0, atol=5e-3)


def test_each_image_takes_its_own_operation() -> None:
    images = IMAGES[:1].expand(len(OPERATIONS), -1, -1, -1).float()
    count = len(images)
    mixed = apply_operations(images, torch.arange(count), torch.full((count,), 0.5), -torch.ones(count), WIDE)
    for number in range(count):
        which, half, sign = torch.tensor([number]), torch.tensor([0.5]), -torch.ones(1)
        alone = apply_operations(images[:1], which, half, sign, WIDE)
        torch.testing.assert_close(mixed[number], alone[0], rtol=0, atol=1e-3)
    assert len({tuple(image.flatten().tolist()) for image in mixed}) == count


@pytest.mark.parametrize("name", ["autocontrast", "equalize"])
def test_one_grey_level_stays(name: str) -> None:
    flat = torch.full((1, 3, 16, 16), 7.0)
    which = torch.tensor([OPERATIONS.index(name)])
    assert torch.equal(apply_operations(flat, which, torch.ones(1), torch.ones(1), WIDE), flat)
