"""softvote.training.balance: weights and rows by how rare a class is, from seed and labels alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from conftest import Digits
from sklearn.utils.class_weight import compute_class_weight

from softvote.config.recipe import Member
from softvote.task import Task
from softvote.training.balance import class_weights, draw_balanced, row_weights
from softvote.training.learner import Learner
from softvote.training.rows import Split
from softvote.training.train import TrainingSpec, train

CLASSES = Task(3)
TAGS = Task(2, kind="tags")
TARGETS = Task(5, kind="targets", target_sizes=(2, 3))
LABELS = np.repeat([0, 1, 2], [70, 20, 10])


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    found = class_weights("balanced", CLASSES, ["a", "b", "c"], LABELS)
    assert found is not None and found.dtype == np.float32
    expected = compute_class_weight("balanced", classes=np.arange(3), y=LABELS)
    np.testing.assert_allclose(found[1], expected, rtol=1e-6)


def test_each_target_is_balanced_by_itself() -> None:
    labels = np.stack([LABELS // 2, LABELS], axis=1)
    found = class_weights("balanced", TARGETS, [], labels)
    assert found is not None
    for column, block in zip(labels.T, TARGETS.blocks, strict=True):
        expected = compute_class_weight("balanced", classes=np.unique(column), y=column)
        np.testing.assert_allclose(found[1, block], expected, rtol=1e-6)


def test_presence_and_absence_of_a_tag_weigh_alike_in_all() -> None:
    labels = np.stack([LABELS == 2, LABELS > 0], axis=1).astype(np.int64)
    found = class_weights("balanced", TAGS, [], labels)
    assert found is not None
    np.testing.assert_allclose(found[1] * labels.sum(0), [50, 50])
    np.testing.assert_allclose(found[0] * (1 - labels).sum(0), [50, 50])


def test_a_class_without_rows_has_a_finite_weight() -> None:
    found = class_weights("balanced", Task(4), list("abcd"), LABELS)
    assert found is not None and np.isfinite(found).all()
    np.testing.assert_allclose(found[1, :3], 100 / (3 * np.array([70, 20, 10])), rtol=1e-6)


@pytest.mark.parametrize(
    ("wanted", "task", "classes", "expected"),
    [
        ({"b": 3.0}, CLASSES, ["a", "b", "c"], [1, 3, 1]),
        ({"root": 2.0, "vowel=1": 5.0}, TARGETS, ["root=0", "root=1", "vowel=0", "vowel=1", "vowel=2"],
         [2, 2, 1, 5, 1]),
        ({"a": 2.0}, CLASSES, ["a", "a=b", "c"], [2, 1, 1]),
    ],
)  # fmt: skip
def test_weights_by_hand(wanted: Any, task: Task, classes: list[str], expected: list[float]) -> None:
    found = class_weights(wanted, task, classes, np.empty(0, np.int64))
    assert found is not None
    np.testing.assert_array_equal(found, [expected, expected])


def test_without_weights_there_are_none() -> None:
    assert class_weights(None, CLASSES, [], LABELS) is None


# ---------------------------------------------------------------- sampling


def test_an_epoch_feeds_every_class_as_often() -> None:
    drawn = draw_balanced(row_weights(CLASSES, LABELS), seed=0, epoch=0)
    counts = np.bincount(LABELS[drawn % 100])
    assert len(drawn) == 100 and abs(counts - 100 / 3).max() < 1.01


def test_rows_of_a_class_come_equally_often_and_each_time_is_numbered() -> None:
    drawn = draw_balanced(row_weights(CLASSES, LABELS), seed=0, epoch=0)
    assert len(np.unique(drawn)) == 100
    rows, times = drawn % 100, drawn // 100
    for row in np.unique(rows):
        assert sorted(times[rows == row]) == list(range((rows == row).sum()))
    rarest = np.bincount(rows, minlength=100)[LABELS == 2]
    assert set(rarest.tolist()) <= {3, 4}


def test_what_is_drawn_depends_on_seed_and_epoch() -> None:
    weights = row_weights(CLASSES, LABELS)
    one = draw_balanced(weights, 3, 1)
    np.testing.assert_array_equal(one, draw_balanced(weights, 3, 1))
    assert (one != draw_balanced(weights, 4, 1)).any() and (one != draw_balanced(weights, 3, 2)).any()


def test_the_rarest_tag_decides_and_rows_without_one_count_as_a_tag() -> None:
    labels = np.array([[1, 0]] * 6 + [[1, 1]] * 2 + [[0, 0]] * 4)
    np.testing.assert_allclose(row_weights(TAGS, labels), [1 / 8] * 6 + [1 / 2] * 2 + [1 / 4] * 4)


@pytest.fixture
def few(digits: Digits) -> Split:
    """A hundred digits, of which few are 2."""
    order = np.concatenate([np.flatnonzero(digits[1] == label)[:n] for label, n in enumerate((70, 20, 10))])
    images = torch.from_numpy(digits[0][order][:, None])
    return Split(images, torch.from_numpy(digits[1][order]), np.arange(100))


def member(**facts: Any) -> Member:
    usual = {
        "model": "cnn", "epochs": 1, "batch_size": 25, "precision": "fp32", "memory_format": "contiguous",
        "sampling": "balanced", "augment": {"shift": 2},
    }  # fmt: skip
    return Member.model_validate(usual | facts)


def test_a_row_that_comes_again_is_augmented_anew(few: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    fed: list[tuple[int, bytes]] = []
    batch = Learner._batch

    def note(this: Learner, epoch: int, images: torch.Tensor, rows: Any) -> torch.Tensor:
        found = batch(this, epoch, images, rows)
        fed.extend((row, image.numpy().tobytes()) for row, image in zip(rows.tolist(), found, strict=True))
        return found

    monkeypatch.setattr(Learner, "_batch", note)
    train(TrainingSpec(member(), CLASSES, 0, "few"), few)
    assert len(fed) == 100 == len({row for row, _ in fed}) == len({image for _, image in fed})
    assert {row % (1 << 32) for row, _ in fed} < set(range(100))


def test_balanced_training_is_repeatable(few: Split) -> None:
    spec = TrainingSpec(member(loss="focal", class_weights="balanced"), CLASSES, 0, "few")
    one, other = (train(spec, few).log[0]["loss"] for _ in range(2))
    assert one == other
