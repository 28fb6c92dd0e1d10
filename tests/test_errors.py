"""softvote.errors: problems collected, each once, and names that are nearly right."""

from __future__ import annotations

import pickle

import pytest

from softvote.errors import ErrorCollector, Problem, UserError, cell, one_of


def test_no_problems_raise_nothing() -> None:
    problems = ErrorCollector()
    assert not problems
    problems.raise_any()


def test_every_problem_is_a_line_in_order_and_once() -> None:
    problems = ErrorCollector()
    for where, what in [("b", "1"), ("a", "2"), ("b", "1")]:
        problems.add(where, what)
    assert problems
    with pytest.raises(UserError) as caught:
        problems.raise_any()
    assert str(caught.value) == "b: 1\na: 2"


@pytest.mark.parametrize(
    ("count", "last"), [(3, "p2: x"), (4, "... and 1 more like these"), (9, "... and 6 more like these")]
)
def test_what_is_too_much_is_counted(count: int, last: str) -> None:
    problems = ErrorCollector(shown=3)
    for number in range(count):
        problems.add(f"p{number}", "x")
    with pytest.raises(UserError) as caught:
        problems.raise_any()
    lines = str(caught.value).splitlines()
    assert lines[:3] == ["p0: x", "p1: x", "p2: x"] and lines[-1] == last


def test_cell() -> None:
    assert cell("train.csv", 7, "label") == "train.csv, row 7, column label"


@pytest.mark.parametrize(
    ("unknown", "text"),
    [
        ("ccn", "did you mean 'cnn'? known: cnn, resnet5"),
        ("resnet", "did you mean 'resnet5'? known: cnn, resnet5"),
        ("xyz", "known: cnn, resnet5"),
        ("", "known: cnn, resnet5"),
    ],
)
def test_an_unknown_name_lists_the_known(unknown: str, text: str) -> None:
    assert one_of(["cnn", "resnet5"], unknown) == text


def test_a_problem_stays_whole_between_processes() -> None:
    error = UserError(Problem("a.csv, row 2", "is odd", "fix it"), "no place is known")
    again = pickle.loads(pickle.dumps(error))
    assert (
        again.problems
        == error.problems
        == (
            Problem("a.csv, row 2", "is odd", "fix it"),
            Problem("", "no place is known"),
        )
    )
    assert str(again) == "a.csv, row 2: is odd; fix it\nno place is known"


def test_whoever_knows_more_of_the_place_adds_it_to_every_problem() -> None:
    error = UserError(Problem("refit", "cannot be", "set refit: false"), "is odd").within("members.cnn")
    assert str(error) == "members.cnn: refit: cannot be; set refit: false\nmembers.cnn: is odd"


def test_a_kind_of_error_keeps_its_kind() -> None:
    class OddError(UserError):
        pass

    error = OddError.at("a", "b", "c")
    assert type(error) is type(error.within("d")) is OddError
