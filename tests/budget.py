"""`--budget-minutes N`: tests that N minutes are too short for are left out, and named at the end.

Running out of time fails nothing: what is left out counts for neither a pass nor a failure. No test begins
once the time is up, and one that is under way then ends there.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

_OUT_OF_TIME = "out of time"
_DEADLINE = pytest.StashKey[float]()
_CAN_INTERRUPT = hasattr(signal, "setitimer")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--budget-minutes", type=float, metavar="N", help="leave out what N minutes are too short for"
    )


def pytest_configure(config: pytest.Config) -> None:
    minutes = config.getoption("budget_minutes")
    if minutes is not None:
        # Workers of xdist are told the controller's: they start later.
        told = getattr(config, "workerinput", {}).get("deadline")
        config.stash[_DEADLINE] = told or time.time() + 60 * minutes


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    if _DEADLINE in node.config.stash:
        node.workerinput["deadline"] = node.config.stash[_DEADLINE]


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    with _until_deadline(item.config):
        return (yield)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    with _until_deadline(item.config):
        return (yield)


@contextmanager
def _until_deadline(config: pytest.Config) -> Iterator[None]:
    """End what is done inside when the time is up."""
    if _DEADLINE not in config.stash:
        yield
        return
    left = config.stash[_DEADLINE] - time.time()
    if left <= 0:
        pytest.skip(_OUT_OF_TIME)
    if not _CAN_INTERRUPT:
        yield
        return
    before = signal.signal(signal.SIGALRM, lambda *_: pytest.skip(_OUT_OF_TIME))
    signal.setitimer(signal.ITIMER_REAL, left)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    return ("left out", "o", "LEFT OUT") if _is_left_out(report) else None


def pytest_terminal_summary(terminalreporter: Any) -> None:
    left_out = terminalreporter.getreports("left out")
    if left_out:
        terminalreporter.section(f"{_OUT_OF_TIME}: {len(left_out)} tests left out")
        for report in left_out:
            terminalreporter.line(report.nodeid)


def _is_left_out(report: pytest.TestReport) -> bool:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
    return report.skipped and reason.endswith(_OUT_OF_TIME)
