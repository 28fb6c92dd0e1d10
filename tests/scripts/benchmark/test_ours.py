"""Ours is a training of softvote, and a lap tells where its time goes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import pytest
from benchmark import bodies, cases, laps, ours, parts

from softvote.training.learner import Learner

Facts = dict[str, Any]


def one_lap(body: Callable[..., Facts], *arguments: object) -> tuple[list[Facts], Facts]:
    """What a loop in this process answers to a lap and the large convolution, and says at its end."""
    mine, its = Pipe()
    answers = list[Facts]()

    def order() -> None:
        assert mine.recv() == "ready"
        for what in ("lap", "rest", "limit"):
            mine.send(laps.Order(what, 0.05, 1))
            if what != "rest":
                answers.append(mine.recv())
        mine.send(laps.Order("stop"))

    thread = threading.Thread(target=order, daemon=True)
    thread.start()
    end = body(its, *arguments)
    thread.join()
    return answers, end


@pytest.mark.slow
def test_ours_is_a_training_of_softvote_by_the_members_recipe(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, sizes, train, step = list[Any](), list[int](), ours.train, Learner.step

    def see_train(*given: Any) -> Any:
        calls.append(given)
        return train(*given)

    def see_step(self: Learner, *given: Any) -> Any:
        sizes.append(len(given[3]))
        return step(self, *given)

    monkeypatch.setattr(ours, "train", see_train)
    monkeypatch.setattr(Learner, "step", see_step)
    (found, limit), end = one_lap(bodies.run_ours, cases.load_case("stn_cnn"), root, 1, 0)
    [(spec, rows, *_)] = calls
    member = spec.member
    assert (member.batch_size, member.optimizer.name, member.schedule.name) == (128, "adamw", "one_cycle")
    assert (member.precision, member.augment, member.model) == ("auto", cases.AUGMENT, "stn_cnn")
    assert len(rows.image_labels) == 1498 and rows.images.shape[1:] == (1, 28, 28)
    # The first step, those that warm up, and at least one that counts.
    assert len(sizes) >= laps.WARM_UP + 2 and set(sizes) <= {124, 125}
    assert found["rate"] > 0 and limit["rate"] > 1e8
    assert end["execution"]["probe"]


@pytest.mark.slow
def test_a_lap_tells_where_the_time_of_a_training_goes(root: Path) -> None:
    before = [getattr(owner, name) for _, owner, name in parts.FUNCTIONS]
    (found, _), _ = one_lap(bodies.run_ours_in_parts, cases.load_case("stn_cnn"), root)
    shares = found["shares"]
    assert list(shares) == parts.PARTS
    assert sum(shares.values()) == pytest.approx(1)
    assert min(shares.values()) > 0
    assert min(shares["forward"], shares["backward"]) > max(shares["gather"], shares["loss"])
    assert [getattr(owner, name) for _, owner, name in parts.FUNCTIONS] == before


def test_a_part_within_another_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(parts.time, "perf_counter", lambda: now[0])
    stopwatch = parts.Stopwatch()

    def spend(seconds: float) -> None:
        now[0] += seconds

    def forward() -> None:
        spend(3)
        stopwatch.timing("loss", spend)(1)
        spend(2)

    spend(4)
    stopwatch.timing("forward", forward)()
    shares = stopwatch.shares()
    assert {part: share for part, share in shares.items() if share} == {
        "forward": 0.5,
        "loss": 0.1,
        "rest": 0.4,
    }
