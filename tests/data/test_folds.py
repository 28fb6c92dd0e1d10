"""data.duplicates and data.folds: near-identical images are found, and tables are not mixed up."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Digits
from numpy.typing import NDArray

from softvote.config.pipeline import FoldsConfig
from softvote.data import duplicates, folds
from softvote.errors import UserError
from softvote.storage.paths import PipelineFolder

Pixels = NDArray[np.uint8]


def images_of(digits: Digits, count: int, scale: int = 1, channels: int = 1) -> Pixels:
    """uint8 (count, channels, 8 * scale, 8 * scale), real digits enlarged."""
    large = np.kron(digits[0][:count], np.ones((1, scale, scale), np.uint8))
    return np.repeat(large[:, None], channels, axis=1)


def brute_force(images: Pixels, distance: float) -> NDArray[np.int64]:
    """Groups by measuring every pair."""
    flat = images.reshape(len(images), -1).astype(np.float64)
    group = np.arange(len(images))
    for row in range(len(images)):
        near = np.sqrt(((flat - flat[row]) ** 2).mean(axis=1)) <= distance
        for old in np.unique(group[near]):
            group[group == old] = group[near].min()
    _, numbers = np.unique(group, return_inverse=True)
    return numbers.astype(np.int64)


def noisy(images: Pixels, amount: int, seed: int = 0) -> Pixels:
    noise = np.random.default_rng(seed).integers(-amount, amount + 1, images.shape)
    return np.clip(images.astype(np.int64) + noise, 0, 255).astype(np.uint8)


# ---------------------------------------------------------------- groups


@pytest.mark.slow_but("3-3-4.0", "5-1-25.0", "1-1-0.0", "1-1-31.0")
@pytest.mark.parametrize("distance", [0.0, 1.0, 4.0, 25.0, 31.0])
@pytest.mark.parametrize(("scale", "channels"), [(1, 1), (5, 1), (3, 3)])
def test_groups_are_those_of_measuring_every_pair(
    digits: Digits, distance: float, scale: int, channels: int
) -> None:
    images = images_of(digits, 200, scale, channels)
    images = np.concatenate([images, images[:20], noisy(images[20:60], 3), noisy(images[60:80], 9)])
    found = duplicates.near_identical_groups(images, distance)
    np.testing.assert_array_equal(found, brute_force(images, distance))
    assert found.dtype == np.int64


@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 40, 168), (3, 33, 50)])
def test_exact_copies_are_found_at_distance_zero(shape: tuple[int, int, int]) -> None:
    images = np.random.default_rng(0).integers(0, 256, (101, *shape), dtype=np.uint8)
    groups = duplicates.near_identical_groups(np.concatenate([images, images[::-1]]), 0)
    np.testing.assert_array_equal(groups, np.concatenate([np.arange(101), np.arange(101)[::-1]]))


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (1, 17, 35), (3, 40, 40)])
@pytest.mark.parametrize("distance", [1.0, 4.0, 10.0])
def test_the_distance_is_a_root_mean_square_of_grey_levels(
    shape: tuple[int, int, int], distance: float
) -> None:
    """One image is brighter by exactly the distance, another by half a grey level more in the mean."""
    base, white = np.full(shape, 100, np.uint8), np.full(shape, 255, np.uint8)
    near = base + np.uint8(distance)
    far = near.copy()
    far.reshape(-1)[: far.size // 2] += 1
    for other, groups in ((near, [0, 0, 1]), (far, [0, 1, 2])):
        found = duplicates.near_identical_groups(np.stack([base, other, white]), distance)
        np.testing.assert_array_equal(found, groups)


def test_a_distance_that_joins_most_images_is_refused(digits: Digits) -> None:
    with pytest.raises(UserError, match=r"^folds.near_identical: 400 grey levels join most of these images"):
        duplicates.near_identical_groups(images_of(digits, 300), 400)


def test_any_number_of_exact_copies_is_one_group(digits: Digits) -> None:
    """They are not crowd of neighbours, and cost nothing."""
    images = np.repeat(images_of(digits, 3), 500, axis=0)
    np.testing.assert_array_equal(duplicates.near_identical_groups(images, 4), np.repeat(np.arange(3), 500))


def test_pairs_chain_into_groups_numbered_by_their_first_image() -> None:
    levels = np.array([50, 200, 53, 120, 56, 203, 255], np.uint8)
    images = np.broadcast_to(levels[:, None, None, None], (7, 1, 8, 8)).copy()
    np.testing.assert_array_equal(duplicates.near_identical_groups(images, 3), [0, 1, 0, 2, 0, 1, 3])


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_images(digits: Digits, count: int) -> None:
    np.testing.assert_array_equal(
        duplicates.near_identical_groups(images_of(digits, count), 4), np.arange(count)
    )


def test_blocks_give_the_groups_of_the_whole(digits: Digits, monkeypatch: pytest.MonkeyPatch) -> None:
    images = images_of(digits, 150, scale=3)
    images = np.concatenate([images, images[:20], noisy(images[20:90], 3)])
    monkeypatch.setattr(duplicates, "_BLOCK", 7)
    np.testing.assert_array_equal(duplicates.near_identical_groups(images, 4), brute_force(images, 4))


def test_a_crowd_is_found_by_asking_some_images(digits: Digits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "_ASKED", 10)
    with pytest.raises(UserError, match="join most of these images"):
        duplicates.near_identical_groups(images_of(digits, 300), 400)
    assert duplicates.near_identical_groups(images_of(digits, 300), 4).max() > 250


# ---------------------------------------------------------------- the table on disk

LABELS = np.array([3, 1, 3, 1, 0, 0])
ASSIGNED = np.array([0, 1, 1, 0, 0, 1])


@pytest.fixture
def folder(tmp_path: Path) -> PipelineFolder:
    return PipelineFolder(tmp_path / "models" / "tiny")


def origin(data: str = "abc", seed: int = 0, **spec: Any) -> dict[str, Any]:
    return folds.fold_inputs(LABELS, data, FoldsConfig(**{"count": 2} | spec), seed)


def test_written_and_read(folder: PipelineFolder) -> None:
    folds.write_folds(folder, LABELS, ASSIGNED, origin())
    assert folder.folds.read_text() == "row,label,fold\n0,3,0\n1,1,1\n2,3,1\n3,1,0\n4,0,0\n5,0,1\n"
    table = folds.read_folds(folder, origin())
    np.testing.assert_array_equal(table.folds, ASSIGNED)
    assert table.folds.dtype == np.int64 and folds.up_to_date(folder, origin())


def test_the_same_table_is_the_same_bytes_and_key(folder: PipelineFolder) -> None:
    contents, keys = [], []
    for assigned in (ASSIGNED, ASSIGNED, 1 - ASSIGNED):
        shutil.rmtree(folder.path, ignore_errors=True)
        folds.write_folds(folder, LABELS, assigned, origin())
        contents.append((folder.folds.read_bytes(), folder.folds_record.read_bytes()))
        keys.append(folds.read_folds(folder, origin()).fingerprint)
    assert contents[0] == contents[1] != contents[2] and keys[0] == keys[1] != keys[2]


def test_how_many_folds_are_trained_does_not_matter(folder: PipelineFolder) -> None:
    folds.write_folds(folder, LABELS, ASSIGNED, origin())
    assert folds.up_to_date(folder, origin(train=1))


@pytest.mark.parametrize(
    ("now", "says"),
    [
        (origin(count=3), "count 2, now 3"),
        (origin(seed=5), "seed 0, now 5"),
        (origin(near_identical=9.0), "near_identical 4.0, now 9.0"),
    ],
)
def test_another_recipe_is_told_and_made_anew(folder: PipelineFolder, now: dict[str, Any], says: str) -> None:
    folds.write_folds(folder, LABELS, ASSIGNED, origin())
    assert not folds.up_to_date(folder, now)
    with pytest.raises(
        UserError, match=rf"folds.csv: was made with {says}; run the folds stage again, or give"
    ):
        folds.read_folds(folder, now)


def test_a_table_that_trainings_rest_on_is_not_made_anew(folder: PipelineFolder) -> None:
    folds.write_folds(folder, LABELS, ASSIGNED, origin())
    recipe = folder.predictions("cnn").fold(0).recipe
    recipe.parent.mkdir(parents=True)
    recipe.write_text("{}")
    assert folds.up_to_date(folder, origin())
    with pytest.raises(UserError, match=r"folds.csv: is not what would be made now, and 1 training depends"):
        folds.up_to_date(folder, origin(seed=5))


def test_a_damaged_table_is_made_again_under_its_trainings(folder: PipelineFolder) -> None:
    folds.write_folds(folder, LABELS, ASSIGNED, origin())
    recipe = folder.predictions("cnn").fold(0).recipe
    recipe.parent.mkdir(parents=True)
    recipe.write_text("{}")
    whole = folder.folds.read_bytes()
    folder.folds.write_bytes(whole[:-2])
    assert not folds.up_to_date(folder, origin())
    folds.write_folds(folder, LABELS, ASSIGNED, origin())
    assert folder.folds.read_bytes() == whole


def test_other_data_is_refused_by_both(folder: PipelineFolder) -> None:
    folds.write_folds(folder, LABELS, ASSIGNED, origin())
    for use in (folds.up_to_date, folds.read_folds):
        with pytest.raises(UserError, match=r"folds.csv: belongs to other data: .* 6 rows, here are 6 with"):
            use(folder, origin(data="other"))


def test_the_same_files_at_another_size_have_the_same_table(folder: PipelineFolder) -> None:
    """A table that is damaged then is made again only where no training rests on it: it may be another."""
    small, large = (folds.fold_inputs(LABELS, data, FoldsConfig(count=2), 0, source="s") for data in "ab")
    folds.write_folds(folder, LABELS, ASSIGNED, small)
    key = folds.read_folds(folder, small).fingerprint
    assert folds.up_to_date(folder, large) and folds.read_folds(folder, large).fingerprint == key
    for other in (origin("b"), folds.fold_inputs(LABELS, "b", FoldsConfig(count=2), 0, source="t")):
        with pytest.raises(UserError, match=r"belongs to other data"):
            folds.read_folds(folder, other)
    with pytest.raises(UserError, match=r"was made with seed 0, now 5"):
        folds.read_folds(folder, folds.fold_inputs(LABELS, "b", FoldsConfig(count=2), 5, source="s"))
    folder.folds.write_bytes(folder.folds.read_bytes()[:-2])
    assert not folds.up_to_date(folder, large)
    folder.predictions("cnn").fold(0).path.mkdir(parents=True)
    folder.predictions("cnn").fold(0).recipe.write_text("{}")
    assert not folds.up_to_date(folder, small)
    with pytest.raises(UserError, match=r"1 training depends"):
        folds.up_to_date(folder, large)


def test_a_table_of_an_older_version_learns_its_files(folder: PipelineFolder) -> None:
    small, large = (folds.fold_inputs(LABELS, data, FoldsConfig(count=2), 0, source="s") for data in "ab")
    old = folds.FoldInputs.model_validate(small.model_dump(exclude={"source"}))
    folds.write_folds(folder, LABELS, ASSIGNED, old)
    assert "source" not in folder.folds_record.read_text()
    key = folds.read_folds(folder, small).fingerprint
    with pytest.raises(UserError, match=r"if only the size of images changed: that size, run the folds"):
        folds.read_folds(folder, large)
    folds.remember_source(folder, large)
    assert "source" not in folder.folds_record.read_text()
    folds.remember_source(folder, small)
    assert folds.read_folds(folder, large).fingerprint == key


def test_a_table_changed_by_hand(folder: PipelineFolder) -> None:
    folds.write_folds(folder, LABELS, ASSIGNED, origin())
    folder.folds.write_text(folder.folds.read_text().replace("0,3,0", "0,3,1"))
    assert not folds.up_to_date(folder, origin())
    with pytest.raises(
        UserError, match=r"folds.csv: is missing or was changed after it was written; run the folds stage"
    ):
        folds.read_folds(folder, origin())


@pytest.mark.parametrize("lost", ["folds.csv", "folds.json"])
def test_half_a_table_is_none(folder: PipelineFolder, lost: str) -> None:
    folds.write_folds(folder, LABELS, ASSIGNED, origin())
    (folder.path / lost).unlink()
    assert not folds.up_to_date(folder, origin())
    with pytest.raises(UserError, match=r"folds.csv: (is )?missing or .*; run the folds stage"):
        folds.read_folds(folder, origin())


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3"])
def test_a_damaged_origin_is_none(folder: PipelineFolder, text: str) -> None:
    folds.write_folds(folder, LABELS, ASSIGNED, origin())
    folder.folds_record.write_text(text)
    assert not folds.up_to_date(folder, origin())


# ---------------------------------------------------------------- columns of the training table


def test_tags_and_targets_are_written_as_they_are(folder: PipelineFolder) -> None:
    labels = np.array([[0, 1, 1], [0, 0, 0]])
    folds.write_folds(folder, labels, np.array([1, 0]), origin())
    assert folder.folds.read_text() == "row,label,fold\n0,0 1 1,1\n1,0 0 0,0\n"
    np.testing.assert_array_equal(folds.read_folds(folder, origin()).folds, [1, 0])


def test_inputs_hold_what_a_column_says(folder: PipelineFolder) -> None:
    spec = FoldsConfig(count=2, group="patient")

    def inputs(*values: str) -> folds.FoldInputs:
        return folds.fold_inputs(LABELS, "abc", spec, 0, {"patient": np.array(values)})

    folds.write_folds(folder, LABELS, ASSIGNED, inputs(*"aabbcc"))
    assert folds.up_to_date(folder, inputs(*"aabbcc")) and not folds.up_to_date(folder, inputs(*"aabbcd"))
    with pytest.raises(
        UserError, match=r"was made with group patient, now none, column_sha256 [0-9a-f]{12}, now"
    ):
        folds.read_folds(folder, origin())
    assert "group" not in origin().to_json()  # so that tables without are the same bytes as ever
