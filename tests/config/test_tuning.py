"""softvote.config.tuning: what can be searched, and every mistake of a space at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from projects import pipeline, write_pipeline

from softvote.config.pipeline import Pipeline
from softvote.config.pipeline_file import read_pipeline_file
from softvote.config.tuning import SearchRange, TunedConfig
from softvote.errors import UserError

LR = {"members.cnn.optimizer.lr": {"log": [1e-4, 1e-2]}}


def problems(root: Path, tune: dict[str, Any], **facts: Any) -> list[str]:
    """What is wrong with a pipeline's search, a line each without its place."""
    path = write_pipeline(root, pipeline(**{"members": {"cnn": {"model": "cnn"}}, "tune": tune} | facts))
    with pytest.raises(UserError) as raised:
        read_pipeline_file(path)
    return [str(problem).partition(": ")[2] for problem in raised.value.problems]


def test_every_problem_of_a_space_is_told_with_the_nearest_key(tmp_path: Path) -> None:
    space = LR | {
        "members.cnn.optimzer.lr": {"log": [1e-4, 1e-2]},
        "members.cn.epochs": {"int": [1, 4]},
        "defaults.epochs": {"int": [0, 4]},
        "members.cnn.head": {"choice": ["softmax", "sofmax"]},
        "seed": {"int": [0, 4]},
        "members.cnn.repeats": {"int": [1, 4]},
    }
    told = problems(tmp_path, {"space": space})
    assert len(told) == 6
    assert "did you mean 'optimizer'?" in told[0] and told[0].startswith("tune.space.members.cnn.optimzer.lr")
    assert "no member 'cn'; did you mean 'cnn'?" in told[1]
    assert "greater than or equal to 1, not 0" in told[2]
    assert "did you mean 'softmax'?" in told[3]
    assert "seed: is not a key of a recipe" in told[4] and "means nothing in a trial" in told[5]


@pytest.mark.parametrize(
    ("key", "facts"),
    [
        ("defaults.epochs", {"members": {"cnn": {"model": "cnn", "epochs": 3}}}),
        ("members.big.epochs", {"members": {"cnn": {"model": "cnn"}, "big": {"model": "cnn"}}}),
    ],
)
def test_a_key_that_changes_no_training_is_not_searched(
    key: str, facts: dict[str, Any], tmp_path: Path
) -> None:
    """A member says it itself, or the member is none that trials train."""
    tune = {"space": LR | {key: {"int": [1, 4]}}, "members": ["cnn"]}
    [line] = problems(tmp_path, tune, **facts)
    assert line.startswith(f"tune.space.{key}: changes nothing of what a trial trains")


@pytest.mark.parametrize(
    ("search", "told"),
    [
        ({}, "says no range"),
        ({"log": [1, 2], "int": [1, 2]}, "says log and int"),
        ({"float": [2, 1]}, "2 is not below 1"),
        ({"log": [0, 1]}, "0 has no logarithm"),
        ({"int": [1.5, 2]}, "valid integer"),
        ({"choice": [1]}, "needs more"),
    ],
)
def test_a_range_says_one_thing(search: dict[str, Any], told: str, tmp_path: Path) -> None:
    [line] = problems(tmp_path, {"space": {"members.cnn.epochs": search}})
    assert told in line and line.startswith("tune.space.members.cnn.epochs")


@pytest.mark.parametrize(
    ("tune", "told"),
    [
        ({"folds": 5}, "leave none that no trial is scored on; at most 4"),
        ({"members": ["cn"]}, "did you mean 'cnn'?"),
        ({"metric": "partial_roc_auc"}, "tune.metric"),
        ({"metric": {"name": "f_beta", "average": "samples"}}, "tune.metric"),
        ({"pruner": "medium"}, "did you mean 'median'?"),
    ],
)
def test_a_search_fits_its_pipeline(tune: dict[str, Any], told: str, tmp_path: Path) -> None:
    assert any(told in line for line in problems(tmp_path, {"space": LR} | tune, folds={"count": 5}))


def test_no_member_is_called_as_the_folder_of_trials() -> None:
    facts = pipeline(members={"tune": {"model": "cnn"}}, tune={"space": {"defaults.epochs": {"int": [1, 2]}}})
    with pytest.raises(ValueError, match="rename it"):
        Pipeline.model_validate(facts)


def test_whose_keys_are_searched_is_trained() -> None:
    facts = pipeline(members={name: {"model": "cnn"} for name in "abc"})

    def searched(**tune: Any) -> list[str]:
        read = Pipeline.model_validate(facts | {"tune": tune}).tune
        assert read is not None
        return read.searched(list(facts["members"]))

    epochs = {"int": [1, 2]}
    assert searched(space={"members.c.epochs": epochs, "members.a.epochs": epochs}) == ["a", "c"]
    assert searched(space={"defaults.epochs": epochs}) == ["a", "b", "c"]
    assert searched(space={"defaults.epochs": epochs}, members=["b"]) == ["b"]


@pytest.mark.parametrize(
    ("search", "held", "not_held"),
    [
        ({"int": [1, 3]}, [1, 3, 2.0], [0, 4, 1.5, None, True]),
        ({"log": [0.1, 1]}, [0.1, 1, 0.5], [0.01, 2, "a"]),
        ({"choice": ["a", None]}, ["a", None], ["b"]),
    ],
)
def test_what_a_range_holds(search: dict[str, Any], held: list[Any], not_held: list[Any]) -> None:
    read = SearchRange.model_validate(search)
    assert all(map(read.holds, held)) and not any(map(read.holds, not_held))


def test_scores_of_rows_that_chose_values_are_known() -> None:
    tuned = TunedConfig(pipeline="tiny", trials=9, folds=[3, 4], table="t")
    assert not tuned.has_seen([0, 1, 2], "t")
    assert tuned.has_seen([0, 1, 2, 3], "t") and tuned.has_seen([0, 1, 2], "of another seed")
