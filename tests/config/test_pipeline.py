"""softvote.config.pipeline: limits, defaults and names of the schema."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from softvote.config.competition import Competition
from softvote.config.engine import LocalEngine, RayEngine
from softvote.config.json_schema import json_schema
from softvote.config.pipeline import FoldsConfig, Pipeline
from softvote.config.recipe import Recipe
from softvote.config.schema import check_name
from softvote.task import Task

COMPETITION: dict[str, Any] = {
    "name": "digits",
    "files": {"format": "pixel_csv"},
    "image": {"height": 8, "width": 8},
    "labels": {"first": 0, "last": 9},
}


def pipeline(**facts: Any) -> Pipeline:
    return Pipeline.model_validate({"competition": COMPETITION, "members": {"cnn": {"model": "cnn"}}} | facts)


@pytest.mark.parametrize("name", ["a", "A-1_b", "0", "digit-recognizer"])
def test_names(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "-a", "_a", "a b", "a.b", "ä", "a\n", "CON:"])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(ValueError, match="is not a name"):
        check_name(name)
    with pytest.raises(ValidationError):
        pipeline(members={name: {"model": "cnn"}})
    with pytest.raises(ValidationError):
        pipeline(ensemble={"name": name})
    with pytest.raises(ValidationError):
        Competition.model_validate(COMPETITION | {"name": name})


def test_a_slug_may_have_capitals() -> None:
    competition = Competition.model_validate(COMPETITION | {"kaggle": "Kannada-MNIST"})
    assert competition.kaggle == "Kannada-MNIST"


@pytest.mark.parametrize(
    ("facts", "problem"),
    [
        ({"kaggle": "https://kaggle.com/c/digits"}, "is not a Kaggle competition"),
        ({"kaggle": "digits "}, "is not a Kaggle competition"),
        ({"kaggle": "a--b"}, "is not a Kaggle competition"),
        ({"kaggle": "digits", "solution": "solution.csv"}, "nothing is sent"),
        ({"public_share": 0}, "greater than 0"),
        ({"public_share": 1.5}, "less than or equal to 1"),
    ],
)
def test_what_kaggle_cannot_be_asked(facts: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        Competition.model_validate(COMPETITION | facts)


def test_a_competition_is_held_at_kaggle_only_if_it_says_so() -> None:
    assert Competition.model_validate(COMPETITION).kaggle is None
    assert Competition.model_validate(COMPETITION | {"kaggle": "digits-2"}).kaggle == "digits-2"


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ({"first": 0, "last": 3}, ["0", "1", "2", "3"]),
        ({"first": -1, "last": 1}, ["-1", "0", "1"]),
        (["cat", "dog"], ["cat", "dog"]),
        ([0, 1], ["0", "1"]),
    ],
)
def test_classes(labels: Any, classes: list[str]) -> None:
    assert Competition.model_validate(COMPETITION | {"labels": labels}).classes == classes


@pytest.mark.parametrize(
    ("last", "facts", "values", "sums"),
    [
        (9, {}, 10, False),
        (9, {"hidden_digits": 1}, 10, False),
        (18, {"hidden_digits": 1, "addend": True}, 10, True),
        (18, {"hidden_digits": 2}, 19, True),
        (36, {"hidden_digits": 4}, 37, True),
        (45, {"hidden_digits": 4, "addend": True}, 37, True),
    ],
)
def test_the_task_of_a_competition(last: int, facts: dict[str, Any], values: int, sums: bool) -> None:
    labels = {"first": 0, "last": last}
    found = Competition.model_validate(COMPETITION | {"labels": labels} | facts)
    assert found.task == Task(last + 1, facts.get("hidden_digits"), facts.get("addend", False))
    assert found.task.num_values == values and found.task.is_of_sums == sums


@pytest.mark.parametrize("hidden", [0, -1, 11, 1.5])
def test_numbers_of_hidden_digits_there_cannot_be(hidden: float) -> None:
    with pytest.raises(ValidationError, match="hidden_digits"):
        Competition.model_validate(COMPETITION | {"hidden_digits": hidden})


@pytest.mark.parametrize(
    ("count", "train", "trained"), [(5, None, [0, 1, 2, 3, 4]), (5, 2, [0, 1]), (2, 9, [0, 1])]
)
def test_trained_folds(count: int, train: int | None, trained: list[int]) -> None:
    assert FoldsConfig(count=count, train=train).trained == trained


def test_everybody_votes_unless_some_are_named() -> None:
    members = {"a": {"model": "cnn"}, "b": {"model": "cnn"}}
    assert pipeline(members=members).voters == ["a", "b"]
    assert pipeline(members=members, ensemble={"members": ["b"]}).voters == ["b"]


@pytest.mark.parametrize(
    "facts",
    [
        {"epochs": 0}, {"batch_size": 1}, {"label_smoothing": 1.0}, {"label_smoothing": -0.1}, {"mixup": -1},
        {"mixup": float("inf")}, {"ema": 1.0}, {"no_aug_epochs": -1}, {"head": "hard"},
        {"precision": "fp8"}, {"micro_batch": 1},
        {"memory_format": "nhwc"}, {"tta": {"shift": -1}}, {"augment": {"rotate": 181}},
        {"augment": {"scale": 1}},
        {"augment": {"shear": 61}}, {"augment": {"shift": -1}}, {"augment": {"elastic": float("inf")}},
        {"augment": {"horizontal_flip": 1.1}}, {"augment": {"engine": "none"}},
        {"optimizer": {"name": "adam", "lr": 0}}, {"optimizer": {"name": "adam", "betas": [0.9, 1.0]}},
        {"optimizer": {"name": "sgd", "momentum": 1.0}}, {"optimizer": {"name": "sgd", "momentum": 0}},
        {"schedule": {"name": "plateau", "factor": 1}}, {"schedule": {"name": "plateau", "held_out": 0.6}},
        {"schedule": {"name": "cosine", "warmup": 1}}, {"schedule": {"name": "one_cycle", "warmup": 0}},
        {"view": {"name": "crop"}}, {"view": {"name": "crop", "size": 1}}, {"view": {"name": "box"}},
        {"view": {"name": "deskew", "size": 3}}, {"view": "deskew"}, {"normalise": "batch"},
        {"nonsense": 1},
    ],
    ids=str,
)  # fmt: skip
def test_limits_of_a_recipe(facts: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Recipe.model_validate(facts)


THREE = {"a": {"model": "cnn"}, "b": {"model": "cnn"}, "c": {"model": "resnet5"}}


@pytest.mark.parametrize(
    ("shares", "weights"),
    [
        ({"c": 0.5}, [0.25, 0.25, 0.5]),
        ({"cnn": 0.9}, [0.45, 0.45, 0.1]),
        ({"a": 0.6}, [0.6, 0.2, 0.2]),
        ({"cnn": 0.5, "resnet5": 0.5}, [0.25, 0.25, 0.5]),
        ({"a": 0.5, "b": 0.2, "c": 0.3}, [0.5, 0.2, 0.3]),
        ({"a": 0, "resnet5": 0.3}, [0, 0.7, 0.3]),
    ],
)
def test_shares_of_members_and_of_kinds(shares: dict[str, float], weights: list[float]) -> None:
    for rule in ("auto", "shares"):
        found = pipeline(members=THREE, ensemble={"shares": shares, "rule": rule}).vote_shares()
        assert found == pytest.approx(weights)
    assert pipeline(members=THREE).vote_shares() is None


@pytest.mark.parametrize(
    ("ensemble", "problem"),
    [
        ({"shares": {"d": 0.5}}, "ensemble.shares: no voter or model 'd'; known: a, b, c, cnn, resnet5"),
        ({"shares": {"c": 0.5}, "members": ["a", "b"]}, "no voter or model 'c'"),
        ({"shares": {"cnn": 0.5, "a": 0.1}}, "ensemble.shares: 'a' is given two shares; name it once"),
        ({"shares": {"cnn": 1.0}}, "ensemble.shares: sum to 1; they must leave something to c"),
        ({"shares": {"cnn": 0.7, "c": 0.6}}, "ensemble.shares: sum to 1.3; they must sum to 1"),
        ({"shares": {"cnn": 0.3, "c": 0.6}}, "ensemble.shares: sum to 0.9; they must sum to 1"),
        ({"shares": {"c": 1.5}}, "less than or equal to 1"),
        ({"rule": "shares"}, "rule: shares needs shares"),
        ({"rule": "mean", "shares": {"c": 0.5}}, "shares are not for rule: mean"),
    ],
)  # fmt: skip
def test_shares_that_are_none(ensemble: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        pipeline(members=THREE, ensemble=ensemble)


@pytest.mark.parametrize(
    ("view", "problem"),
    [
        ({"name": "crop", "size": 9}, "members.cnn.view.size: 9 is more than the 8 pixels of the images"),
        ({"name": "box", "width": 21}, "members.cnn.view.width: 21 is more than the 20 pixels of the images"),
    ],
)
def test_views_larger_than_the_images(view: dict[str, Any], problem: str) -> None:
    wide = COMPETITION | {"image": {"height": 8, "width": 20}}
    pipeline(competition=wide, members={"cnn": {"model": "cnn", "view": view | {next(reversed(view)): 8}}})
    with pytest.raises(ValidationError, match=problem):
        pipeline(competition=wide, members={"cnn": {"model": "cnn", "view": view}})


def test_nothing_can_be_changed_afterwards() -> None:
    found = pipeline()
    with pytest.raises(ValidationError):
        found.seed = 3  # type: ignore[misc]
    with pytest.raises(ValidationError):
        found.members["cnn"].epochs = 3  # type: ignore[misc]


def test_a_recipe_goes_through_json_unchanged() -> None:
    recipe = Recipe.model_validate(
        {
            "augment": {"rotate": 3},
            "optimizer": {"name": "sgd"},
            "schedule": {"name": "cosine"},
            "tta": {"shift": 1},
            "view": {"name": "crop", "size": 7},
        }
    )
    assert Recipe.model_validate(recipe.model_dump(mode="json")) == recipe


def test_the_schema_requires_nothing() -> None:
    schema = json_schema()
    assert not any("required" in part for part in [schema, *schema["$defs"].values()])


def keys_of_the_schema() -> dict[str, dict[str, Any]]:
    schema = json_schema()
    parts = {"Pipeline": schema, **schema["$defs"]}
    return {
        f"{part}.{key}": entry for part in parts for key, entry in parts[part].get("properties", {}).items()
    }


def is_number(entry: dict[str, Any]) -> bool:
    return any(kind.get("type") in ("integer", "number") for kind in [entry, *entry.get("anyOf", [])])


UNITS = (
    "degrees", "pixels", "grey levels", "epochs", "images", "per optimiser step", "proportion", "probability",
    "factor", "number of", "cores", "gpus per", "no unit", "integer", "times each weight", "per step",
)  # fmt: skip


KEYS = keys_of_the_schema()


@pytest.mark.parametrize("key", KEYS)
def test_every_key_has_a_sentence_and_every_number_a_unit(key: str) -> None:
    entry = KEYS[key]
    sentence = entry.get("description", "")
    assert sentence.endswith(".") and len(sentence.split()) >= 3, "write a docstring under the attribute"
    assert "\n" not in sentence, "one paragraph"
    if is_number(entry):
        assert any(unit in sentence.lower() for unit in UNITS), f"name the unit: {sentence}"


@pytest.mark.parametrize(
    ("written", "engine"),
    [
        ("local", LocalEngine()),
        ({"workers": 3}, LocalEngine(workers=3)),
        ("ray", RayEngine(name="ray")),
        (
            {"name": "ray", "address": "head:6379", "gpus": 0.25},
            RayEngine(name="ray", address="head:6379", gpus=0.25),
        ),
    ],
)
def test_engines(written: Any, engine: LocalEngine | RayEngine) -> None:
    assert pipeline(engine=written).engine == engine


@pytest.mark.parametrize(
    "written",
    [
        "slurm",
        {"workers": 0},
        {"name": "ray", "workers": 2},
        {"name": "ray", "cpus": 0},
        {"address": "a:1"},
        3,
    ],
)
def test_what_is_no_engine(written: Any) -> None:
    with pytest.raises(ValidationError, match="engine"):
        pipeline(engine=written)


def test_where_trainings_run_is_no_part_of_what_they_are() -> None:
    assert pipeline().engine == LocalEngine(workers=None)
    assert "engine" not in Recipe.model_fields
