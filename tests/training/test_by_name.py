"""softvote.training.augmentations.by_name: albumentations by its own names, checked and seeded by row."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import albumentations as A  # noqa: N812
import numpy as np
import pytest
import torch
import yaml
from numpy.typing import NDArray

from softvote.config.augment import Augment
from softvote.config.pipeline_file import read_pipeline_file
from softvote.errors import UserError
from softvote.seeds import derive_seed
from softvote.training.augment import create_augmenter, create_transform, stays_on_device
from softvote.training.batches import BatchLoader, SeededTransform
from softvote.training.rows import Split

pytestmark = pytest.mark.usefixtures("forkserver")  # started with all that is needed here

NESTED: list[Any] = [
    {"ColorJitter": {"brightness": 0.4, "p": 0.9}},
    {"OneOf": {"transforms": ["HorizontalFlip", {"VerticalFlip": {"p": 2 / 3}}], "p": 0.9}},
    {"Compose": {"transforms": [{"SomeOf": {"transforms": ["Transpose", "RandomRotate90"], "n": 1}}]}},
    {"RandomResizedCrop": {"size": [16, 16], "scale": [0.5, 1]}},
]


def images(count: int = 12, channels: int = 3) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, channels, 16, 16), np.uint8)


def transform(written: list[Any]) -> Any:
    found = create_transform(Augment(albumentations=written))  # type: ignore[call-arg]
    assert found is not None
    return found


@pytest.mark.parametrize("channels", [1, 3])
def test_each_image_by_its_seed_and_row_alone(channels: int) -> None:
    given, rows, change = images(channels=channels), np.arange(100, 112), transform(NESTED)
    whole = change(given, rows, 7)
    assert whole.shape == given.shape and whole.dtype == np.uint8 and (whole != given).any((1, 2, 3)).all()
    order = np.array([5, 0, 11, 3])
    np.testing.assert_array_equal(change(given[order], rows[order], 7), whole[order])
    np.testing.assert_array_equal(transform(NESTED)(given[:1], rows[:1], 7), whole[:1])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(change))(given, rows, 7), whole)
    assert (change(given, rows, 8) != whole).any((1, 2, 3)).all()
    same = change(np.repeat(given[:1], 12, 0), rows, 7)
    assert len({image.tobytes() for image in same}) >= 10


def test_it_is_what_the_library_itself_does() -> None:
    given, rows = images(), np.arange(12)
    pipeline = A.Compose([A.ColorJitter(brightness=0.4, p=0.9), A.HorizontalFlip()])
    found = transform([{"ColorJitter": {"brightness": 0.4, "p": 0.9}}, "HorizontalFlip"])(given, rows, 7)
    for image, row, changed in zip(given, rows.tolist(), found, strict=True):
        pipeline.set_random_seed(derive_seed(7, "albumentations", row) % 2**32)
        expected = pipeline(image=np.ascontiguousarray(image.transpose(1, 2, 0)))["image"]
        np.testing.assert_array_equal(changed, expected.transpose(2, 0, 1))


def test_it_comes_before_what_the_device_does() -> None:
    both = Augment.model_validate({"albumentations": ["VerticalFlip"], "brightness": 0.2})
    alone = Augment.model_validate({"brightness": 0.2})
    given, rows = images(), np.arange(12)
    changed = transform(["VerticalFlip"])(given, rows, 3)
    expected = create_augmenter(alone)(torch.from_numpy(changed), rows, 3)
    assert torch.equal(create_augmenter(both)(torch.from_numpy(given), rows, 3), expected)
    assert stays_on_device(alone) and not stays_on_device(both)


@pytest.mark.parametrize("workers", [0, 2])
def test_processes_give_the_same(workers: int) -> None:
    given, rows = images(), np.arange(12)
    split = Split(torch.from_numpy(given), torch.zeros(12, dtype=torch.long), rows)
    change = SeededTransform(transform(NESTED), 7)
    with BatchLoader(split, 6, workers) as loader:
        found = torch.cat([data.images for data, _ in loader.load(np.array_split(rows, 2), change)])
    np.testing.assert_array_equal(found.numpy(), transform(NESTED)(given, rows, 7))


def test_an_image_of_another_shape_is_told_where_it_comes_about() -> None:
    says = "^augment.albumentations: give 8 x 8 x 3 uint8 of 16 x 16 x 3 uint8"
    with pytest.raises(UserError, match=says):
        transform([{"Resize": {"height": 8, "width": 8}}])(images(), np.arange(12), 0)


MISTAKES: list[tuple[list[Any], str]] = [
    (["ColorJiter"], "0: albumentations has no transform 'ColorJiter'; did you mean 'ColorJitter'"),
    (
        ["HorizontalFlip", {"Blurr": {}}],
        "1.Blurr: albumentations has no transform 'Blurr'; did you mean",
    ),
    (["BasicTransform"], "0: albumentations has no transform 'BasicTransform'"),
    (["qqqqqqqq"], "0: albumentations has no transform 'qqqqqqqq'; its documentation lists them"),
    (
        [{"ColorJitter": {"brightnes": 0.2}}],
        "0.ColorJitter.brightnes: unknown argument; did you mean 'brightness'? known: brightness, contrast",
    ),
    ([{"ColorJitter": {"p": 3}}], "0.ColorJitter.p: input should be less than or equal to 1, not 3"),
    ([{"RandomResizedCrop": {}}], "0.RandomResizedCrop: needs size; add it"),
    (
        [{"OneOf": {"transforms": ["Blur", {"Bluur": {}}], "p": 0.5}}],
        "0.OneOf.transforms.1.Bluur: albumentations has no transform 'Bluur'; did you mean 'Blur'",
    ),
    ([{"OneOf": {"transforms": []}}], "0.OneOf.transforms: holds no transforms"),
    (["Normalize"], "0: Normalize gives float32, and images are arrays of uint8"),
    (
        ["HorizontalFlip", {"RandomCrop": {"height": 6, "width": 7}}],
        "1: RandomCrop gives 6 x 7 x 3 uint8 of 8 x 8 x 3 uint8; end with {Resize: {height: 8, width: 8}}",
    ),
    (["Mosaic"], "0: Mosaic fails on 8 x 8 x 3 uint8"),
    ([{"HorizontalFlip": 3}], "0.HorizontalFlip: needs arguments by their names, not 3"),
    ([{"Blur": {}, "HorizontalFlip": {}}], "0: {'Blur': {}, 'HorizontalFlip': {}} is not a single transform"),
]


@pytest.mark.parametrize(("written", "says"), MISTAKES)
@pytest.mark.parametrize("place", ["members.cnn", "defaults"])
def test_a_mistake_is_one_line_with_its_place(
    written: list[Any], says: str, place: str, tmp_path: Path
) -> None:
    augment = {"augment": {"albumentations": written}}
    values = {
        "competition": {
            "name": "tiny", "files": {"format": "npy", "train": ["a.npy"], "train_labels": ["b.npy"],
                                      "test": ["c.npy"]},
            "image": {"height": 8, "width": 8, "channels": 3}, "labels": {"first": 0, "last": 9},
            "sample_submission": "sample.csv",
        },
        "members": {"cnn": {"model": "cnn"} | (augment if place == "members.cnn" else {})},
        "defaults": augment if place == "defaults" else {},
    }  # fmt: skip
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    with pytest.raises(UserError) as error:
        read_pipeline_file(path)
    [line] = str(error.value).splitlines()
    start = f"{path}, line "
    assert line.startswith(start)
    assert f": {place}.augment.albumentations.{says}" in line


def test_what_is_right_is_read() -> None:
    spec = Augment.model_validate({"albumentations": NESTED})
    assert list(spec.find_misfits(3, 16, 16)) == list(spec.find_misfits(1, 16, 16)) == []
    both = [{"RandomCrop": {"height": 8, "width": 8}}, {"Resize": {"height": 16, "width": 16}}]
    assert list(Augment.model_validate({"albumentations": both}).find_misfits(3, 16, 16)) == []
