"""Tests of what a competition asks of an image."""

from __future__ import annotations

import pytest

from softvote.config.competition import Competition
from softvote.errors import UserError
from softvote.task import Task, TaskKind

GRADES = {"first": 0, "last": 4}


def competition(**labels: object) -> Competition:
    facts = {"name": "x", "files": {"format": "pixel_csv"}, "image": {"height": 8, "width": 8}}
    return Competition.model_validate(facts | labels)


@pytest.mark.parametrize(
    ("labels", "kind", "classes", "blocks"),
    [
        ({"labels": ["cat", "dog"]}, "classes", ["cat", "dog"], [(0, 2)]),
        ({"labels": GRADES, "ordered": True}, "ordered", ["0", "1", "2", "3", "4"], [(0, 5)]),
        ({"tags": ["haze", "clear", 3]}, "tags", ["haze", "clear", "3"], []),
        (
            {"targets": {"root": {"first": 0, "last": 1}, "vowel": ["a", "e", "i"]}},
            "targets",
            ["root=0", "root=1", "vowel=a", "vowel=e", "vowel=i"],
            [(0, 2), (2, 5)],
        ),
    ],
)
def test_task_of_labels(
    labels: dict[str, object], kind: TaskKind, classes: list[str], blocks: list[tuple[int, int]]
) -> None:
    asked = competition(**labels)
    task = asked.task
    assert (task.kind, task.num_classes, asked.classes) == (kind, len(classes), classes)
    assert [(block.start, block.stop) for block in task.blocks] == blocks
    assert task.is_single_label == (kind in ("classes", "ordered"))


@pytest.mark.parametrize(
    "labels",
    [
        {},
        {"labels": GRADES, "tags": ["a"]},
        {"tags": ["a"], "targets": {"x": GRADES}},
        {"tags": ["a"], "ordered": True},
        {"tags": ["a", "a"]},
        {"tags": [True, False]},
        {"targets": {"x": ["a", "a"]}},
        {"tags": ["0", "1"], "hidden_digits": 1},
    ],
)
def test_labels_that_contradict(labels: dict[str, object]) -> None:
    with pytest.raises((UserError, ValueError)):
        competition(**labels)


def test_a_plain_task_has_one_block() -> None:
    assert Task(3).blocks == (slice(0, 3),)
