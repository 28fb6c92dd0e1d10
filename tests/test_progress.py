"""softvote.progress: a bar at a terminal, lines now and then in a log file."""

from __future__ import annotations

import io
import sys

import pytest

from softvote import progress
from softvote.progress import TrainingProgress


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
        shown.batch_ended(1000, None)
        clock[0] += seconds
        shown.epoch_ended(epoch, 0.5, 0.875, 1000 / seconds)
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


def test_nobody_looks_at_figures_without_a_terminal() -> None:
    assert not TrainingProgress("cnn fold 0", 1, 10).wants_figures


def test_at_a_terminal_a_bar_shows_figures_and_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    shown = TrainingProgress("cnn fold 0", 2, 100)
    assert shown.wants_figures
    shown.batch_ended(100, "epoch 1/2 loss 0.5000 accuracy 87.50%")
    shown.bar.refresh()
    shown.epoch_ended(0, 0.5, 0.875, 10)
    text = terminal.getvalue()
    assert "cnn fold 0" in text and "50%" in text and "accuracy 87.50%" in text and "\n" not in text
    shown.close()
    assert terminal.getvalue().endswith("\r")
