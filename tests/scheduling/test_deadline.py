"""softvote.scheduling: what no time is left for is not begun, and what overstays is stopped."""

from __future__ import annotations

import math
import time
from pathlib import Path

import pytest
from conftest import Digits
from projects import RECIPE, softvote, write_project

from softvote import stages
from softvote.config.recipe import Member
from softvote.scheduling import engine
from softvote.scheduling.engine import TimeLeft
from softvote.scheduling.job import Job
from softvote.stages import train
from softvote.storage.paths import FoldFolder
from softvote.task import Task

pytestmark = pytest.mark.usefixtures("forkserver")  # started with all that is needed here


def named(member: str) -> Job:
    return Job(member, Member(model="cnn"), 0, FoldFolder(Path()), {}, "", Task(10))


def test_there_is_time_for_what_took_less_before(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(engine.time, "monotonic", lambda: clock[0])
    left = TimeLeft(160.0)
    quick, slow = named("quick"), named("slow")
    assert left.is_enough(quick) and left.is_enough(slow) and left.until_deadline() == 60
    left.note(quick, 5)
    left.note(slow, 20)
    left.note(slow, 10)  # the longest counts
    clock[0] = 145.0
    assert left.is_enough(quick) and not left.is_enough(slow) and left.is_enough(named("new"))
    clock[0] = 161.0
    assert not left.is_enough(named("new")) and left.until_deadline() == 0
    endless = TimeLeft(math.inf)
    endless.note(slow, 1e9)
    assert endless.is_enough(slow) and endless.until_deadline() is None


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("seconds", [0.0, 1.0])
def test_at_the_deadline_trainings_stop_and_others_do_not_begin(
    tmp_path: Path, digits: Digits, workers: int, seconds: float
) -> None:
    """In the command itself, one that was begun is not stopped; here it would never end."""
    if workers == 1 and seconds:
        pytest.skip("one process cannot stop itself")
    defaults = RECIPE | {"epochs": 1_000_000}
    write_project(tmp_path, digits, defaults=defaults, engine={"workers": workers})
    assert softvote(tmp_path, "folds", "tiny") == 0
    run, began = stages.open_run(tmp_path, "tiny"), time.monotonic()
    train.run(run, deadline=time.monotonic() + seconds)
    assert time.monotonic() - began < 60
    assert not list(tmp_path.rglob("weights.safetensors"))
