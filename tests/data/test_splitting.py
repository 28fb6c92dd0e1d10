"""data.splitting: rows that belong together share a fold, and classes, tags and targets are spread."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import Digits
from numpy.typing import NDArray

from softvote.config.pipeline import FoldsConfig
from softvote.data.splitting import join_groups, split, stratify_iteratively
from softvote.errors import UserError
from softvote.task import Task


def alone(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.arange(len(labels))


@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("seed", [0, 2026, 2**40])
def test_folds_hold_each_class_alike_within_one_row(digits: Digits, count: int, seed: int) -> None:
    labels = digits[1][:600]
    found = split(labels, alone(labels), FoldsConfig(count=count), seed)
    assert found.dtype == np.int64 and set(found) == set(range(count))
    for label in range(10):
        rows = np.bincount(found[labels == label], minlength=count)
        assert rows.max() - rows.min() <= 1


def test_a_group_is_in_one_fold(digits: Digits) -> None:
    labels, twins = np.concatenate([digits[1][:300]] * 2), np.concatenate([np.arange(300)] * 2)
    assert in_one_fold(twins, split(labels, twins, FoldsConfig(count=5), 0))


def test_groups_are_spread_by_their_own_label() -> None:
    """Twins stand side by side, and so do the labels."""
    labels, twins = np.repeat([0, 1], 40), np.arange(80) // 2
    found = split(labels, twins, FoldsConfig(count=5), 0)
    assert [np.bincount(found[labels == label]).tolist() for label in (0, 1)] == [[8] * 5] * 2


def test_the_seed_decides(digits: Digits) -> None:
    labels = digits[1][:200]
    first, again, other = (split(labels, alone(labels), FoldsConfig(count=4), seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_a_rare_class_is_split_as_far_as_it_goes(digits: Digits, recwarn: pytest.WarningsRecorder) -> None:
    labels = digits[1][:200].copy()
    labels[:2] = 10
    found = split(labels, alone(labels), FoldsConfig(count=5), 0)
    assert len(set(found)) == 5 and not [warning for warning in recwarn if "class" in str(warning.message)]


def test_fewer_different_images_than_folds() -> None:
    labels = np.zeros(9, np.int64)
    groups = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2])
    with pytest.raises(UserError, match=r"^folds.count: 4 folds need as many different images, not 3$"):
        split(labels, groups, FoldsConfig(count=4), 0)
    assert set(split(labels, groups, FoldsConfig(count=3), 0)) == {0, 1, 2}


def test_no_class_with_enough_images() -> None:
    with pytest.raises(UserError, match=r"no class has 4 different images, one per fold; use fewer folds$"):
        split(np.arange(5), np.arange(5), FoldsConfig(count=4), 0)


# ---------------------------------------------------------------- groups


PATIENTS = np.repeat([f"p{number}" for number in range(60)], 5)


def in_one_fold(groups: NDArray[Any], folds: NDArray[np.int64]) -> bool:
    return all(len(set(folds[groups == group])) == 1 for group in np.unique(groups))


def test_groups_that_two_groupings_connect() -> None:
    found = join_groups(np.array([0, 1, 1, 2, 3, 4]), np.array(list("baacbd")))
    np.testing.assert_array_equal(found, [0, 1, 1, 2, 0, 3])


@pytest.mark.parametrize("kind", ["classes", "ordered", "tags"])
def test_a_column_of_groups_and_near_identical_images_share_a_fold(digits: Digits, kind: Any) -> None:
    labels: NDArray[np.int64] = digits[1][:300] % 3
    task = Task(3, kind=kind)
    if kind == "tags":
        labels = (labels[:, None] == np.arange(3)).astype(np.int64)
    twins = np.arange(300)
    twins[295:] = twins[:5]  # of the first and of the last patient
    spec = FoldsConfig(count=5, group="patient")
    found = split(labels, twins, spec, 0, task, {"patient": PATIENTS})
    assert in_one_fold(PATIENTS, found) and in_one_fold(twins, found)
    assert set(found) == set(range(5)) and found[0] == found[299]
    shares = [task.columns(labels)[found == fold].mean(axis=0) for fold in range(5)]
    assert np.ptp(shares, axis=0).max() < 0.15


def test_fewer_groups_than_folds() -> None:
    spec = FoldsConfig(count=3, group="patient")
    with pytest.raises(
        UserError, match="3 folds need as many groups of patient and near-identical images, not 2"
    ):
        split(np.arange(4) % 2, np.arange(4), spec, 0, columns={"patient": np.array(list("aabb"))})


@pytest.mark.parametrize(
    ("columns", "what"),
    [
        ({}, r"folds.group: the training table has no column 'patient'; its files have none"),
        ({"patent": np.array(list("aabb"))}, "no column 'patient'; did you mean 'patent'"),
        ({"patient": np.array(["a", "", "b", " "])}, "column 'patient' is empty in 2 rows, row 1"),
    ],
)
def test_columns_that_name_no_groups(columns: Any, what: str) -> None:
    with pytest.raises(UserError, match=what):
        split(np.arange(4) % 2, np.arange(4), FoldsConfig(count=2, group="patient"), 0, columns=columns)


# ---------------------------------------------------------------- given folds


@pytest.mark.parametrize(
    ("column", "folds"),
    [
        (["1", "2", "10", "1"], [0, 1, 2, 0]),
        (["b", "c", "a", "b"], [1, 2, 0, 1]),
        (["0.0", "1.0", "2.0", "2.0"], [0, 1, 2, 2]),
    ],
)
def test_given_folds_are_taken_in_the_order_of_their_values(column: list[str], folds: list[int]) -> None:
    spec = FoldsConfig(count=3, column="fold")
    found = split(np.zeros(4, np.int64), np.zeros(4, np.int64), spec, 0, columns={"fold": np.array(column)})
    np.testing.assert_array_equal(found, folds)


def test_given_folds_are_as_many_as_the_pipeline_says() -> None:
    columns = {"fold": np.array(list("0123"))}
    with pytest.raises(UserError, match=r"has 4 values \(0, 1, 2, 3\), and folds.count is 5; set count: 4"):
        split(np.zeros(4, np.int64), np.arange(4), FoldsConfig(column="fold"), 0, columns=columns)


# ---------------------------------------------------------------- tags and several targets


def tags(rows: int, seed: int = 0) -> NDArray[np.int64]:
    """0 and 1 (rows, 6), from frequent to rare, some together."""
    drawn = np.random.default_rng(seed).random((rows, 6))
    found = drawn < [0.6, 0.3, 0.2, 0.1, 0.05, 0.02]
    found[:, 3] |= found[:, 4]
    return found.astype(np.int64)


def test_tags_are_spread_more_evenly_than_by_chance() -> None:
    labels, task = tags(500), Task(6, kind="tags")
    found = split(labels, np.arange(500), FoldsConfig(count=5), 0, task)
    counts = np.stack([labels[found == fold].sum(axis=0) for fold in range(5)])
    assert np.ptp(counts, axis=0).max() <= 3 and np.ptp(np.bincount(found)) <= 12
    assert np.ptp(counts[:, -2:], axis=0).max() <= 1  # the rarest
    by_chance = np.random.default_rng(0).permutation(500) % 5
    chance = np.stack([labels[by_chance == fold].sum(axis=0) for fold in range(5)])
    assert np.ptp(chance, axis=0).max() > 6


def test_every_class_of_every_target_is_spread() -> None:
    random = np.random.default_rng(0)
    labels = np.stack([random.integers(0, 8, 400), random.integers(0, 3, 400)], axis=1)
    task = Task(11, kind="targets", target_sizes=(8, 3))
    found = split(labels, np.arange(400), FoldsConfig(count=4), 0, task)
    counts = np.stack([task.columns(labels)[found == fold].sum(axis=0) for fold in range(4)])
    assert np.ptp(counts, axis=0).max() <= 4


def test_iterative_folds_depend_on_the_seed_alone() -> None:
    shown = tags(200).astype(bool)
    first, again, other = (stratify_iteratively(shown, np.arange(200), 4, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_large_groups_even_out_the_sizes() -> None:
    units = np.repeat(np.arange(6), [4, 2, 2, 2, 1, 1])
    found = stratify_iteratively(np.zeros((12, 1), bool), units, 3, 0)
    assert np.bincount(found).tolist() == [4, 4, 4]


def test_rows_without_a_tag_even_out_the_sizes() -> None:
    shown = np.zeros((90, 2), bool)
    shown[:4, 0] = True
    sizes = np.bincount(stratify_iteratively(shown, np.arange(90), 3, 0))
    assert np.ptp(sizes) == 0
