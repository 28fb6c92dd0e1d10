"""softvote.progress: a bar at a terminal, lines now and then in a log file."""

from __future__ import annotations

import io
import sys

import pytest

from softvote import progress
from softvote.progress import TrainingProgress, poll


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, to be moved by the test."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    return now


def lines(epochs: int, seconds: float, clock: list[float], capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What is told of epochs that take so long."""
    shown = TrainingProgress("cnn fold 0", epochs, 1000)
    for epoch in range(epochs):
        shown.end_batch(1000, None)
        clock[0] += seconds
        shown.end_epoch(epoch, 0.5, 0.875, 1000 / seconds)
    shown.close()
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()


def test_without_a_terminal_a_line_an_epoch_says_what_is_left(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    assert lines(3, 40, clock, capsys) == [
        "cnn fold 0: epoch 1/3  loss 0.5000  accuracy 87.50%  25 images/s  1:20 left",
        "cnn fold 0: epoch 2/3  loss 0.5000  accuracy 87.50%  25 images/s  0:40 left",
        "cnn fold 0: epoch 3/3  loss 0.5000  accuracy 87.50%  25 images/s  0:00 left",
    ]


def test_short_epochs_are_told_every_ten_seconds_and_at_the_end(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    told = [line.split()[4].partition("/")[0] for line in lines(12, 3, clock, capsys)]
    assert told == ["4", "8", "12"]


def test_nothing_is_left_at_the_end_alone(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    assert [line.rpartition("  ")[2] for line in lines(12, 0.95, clock, capsys)] == ["0:01 left", "0:00 left"]


def test_nobody_looks_at_figures_without_a_terminal() -> None:
    assert not TrainingProgress("cnn fold 0", 1, 10).wants_figures


def test_at_a_terminal_a_bar_shows_figures_and_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    shown = TrainingProgress("cnn fold 0", 2, 100)
    assert shown.wants_figures
    shown.end_batch(100, "epoch 1/2 loss 0.5000 accuracy 87.50%")
    shown.bar.refresh()
    shown.end_epoch(0, 0.5, 0.875, 10)
    text = terminal.getvalue()
    assert "cnn fold 0" in text and "50%" in text and "accuracy 87.50%" in text and "\n" not in text
    shown.close()
    assert terminal.getvalue().endswith("\r")


def wait_and_note(
    states: list[str], clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> tuple[str, list[float]]:
    """The state that ended a wait for "done" or "failed" of at most a minute, and the pauses in between."""
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        clock[0] += seconds

    monkeypatch.setattr(progress.time, "sleep", pause)
    seen = iter(states)
    return poll("score of 7", lambda: next(seen), ("done", "failed"), 60), pauses


@pytest.mark.parametrize("last", ["done", "failed"])
def test_a_wait_ends_with_a_state_that_lasts(
    last: str, clock: list[float], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    state, pauses = wait_and_note(["queued", "queued", "running", "running", last], clock, monkeypatch)
    assert state == last
    assert pauses == sorted(pauses) and len(pauses) == 4 and pauses[0] < pauses[-1]
    assert capsys.readouterr().err.splitlines() == [
        "score of 7: queued, 0:00 of at most 1:00",
        "score of 7: running, 0:02 of at most 1:00",
    ]


def test_a_state_that_lasts_is_not_waited_for(
    clock: list[float], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert wait_and_note(["done"], clock, monkeypatch) == ("done", [])
    assert capsys.readouterr().err == ""


def test_patience_runs_out(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    state, pauses = wait_and_note(["queued"] * 1000, clock, monkeypatch)
    assert state == "queued"
    assert 60 <= sum(pauses) < 60 + 30


def test_at_a_terminal_the_line_changes_in_place(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    wait_and_note(["queued", "queued", "done"], clock, monkeypatch)
    text = terminal.getvalue()
    assert "\n" not in text
    assert text.count("\r") == 3 and text.endswith("\r\x1b[K")
