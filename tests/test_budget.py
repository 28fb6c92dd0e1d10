"""--budget-minutes: what the time is too short for is left out and named; a failing test fails."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

TESTS = """
import time

def test_quick():
    pass

def test_fails():
    assert False

def test_waits():
    time.sleep(60)

def test_next():
    pass
"""


def run(pytester: pytest.Pytester, minutes: float, *words: str) -> tuple[int, list[str]]:
    """The exit code and what is printed, without its rulers."""
    pytester.makepyfile(TESTS)
    done = pytester.runpytest("-p", "budget", "--budget-minutes", str(minutes), *words)
    return int(done.ret), [line.strip("= ") for line in done.outlines if line]


def test_what_is_under_way_ends_and_nothing_begins_after_it(pytester: pytest.Pytester) -> None:
    code, said = run(pytester, 0.03)
    assert code == 1  # of the test that fails, not of the time
    assert said[-1].startswith("1 failed, 1 passed, 2 left out in ")
    told = said.index("out of time: 2 tests left out")
    assert [line.partition("::")[2] for line in said[told + 1 : told + 3]] == ["test_waits", "test_next"]


def test_running_out_of_time_fails_nothing(pytester: pytest.Pytester) -> None:
    code, said = run(pytester, 0)
    assert code == 0 and said[-1].startswith("4 left out in ")


def test_enough_time_leaves_nothing_out(pytester: pytest.Pytester) -> None:
    code, said = run(pytester, 5, "-k", "quick or next")
    assert code == 0 and said[-1].startswith("2 passed, 2 deselected in ")
    assert not [line for line in said if "left out" in line]
